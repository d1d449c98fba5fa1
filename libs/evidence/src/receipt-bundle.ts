import { verifyEnvelope, type KeyRing } from '@capstan/identity';
import {
  decodeEnvelope,
  encodeEnvelope,
  fromBase64,
  LocalFault,
  payloadKind,
  toBase64,
  WireFault,
  type Envelope,
} from '@capstan/protocol';
import { verifyReceipt, type VerifiedReceipt } from './verify-receipt.js';

/** A receipt in a file, for people to keep and to hand on. It holds no keys: those must come from elsewhere. */
export interface ReceiptBundle {
  version: 1;
  kind: 'capstan.receipt';
  /** Base64 of the envelope that was answered, if it is kept with it. */
  command: string | null;
  /** Base64 of the receipt's envelope. */
  receipt: string;
}

export interface ParsedBundle {
  command?: Envelope;
  receipt: Envelope;
}

export interface VerifiedBundle extends VerifiedReceipt {
  /** Owner of the pinned key that signed the command; null where there is no command or its key is not pinned. */
  orderedBy: string | null;
}

/** The bundle of a receipt and of what it answers. */
export function makeBundle({ command, receipt }: ParsedBundle): ReceiptBundle {
  return {
    version: 1,
    kind: 'capstan.receipt',
    command: command === undefined ? null : toBase64(encodeEnvelope(command)),
    receipt: toBase64(encodeEnvelope(receipt)),
  };
}

/** The envelopes in a bundle; nothing in them is verified yet. @throws {LocalFault} `bundle-malformed` */
export function parseBundle(json: unknown): ParsedBundle {
  try {
    const bundle = json as Partial<Record<keyof ReceiptBundle, unknown>> | null;
    if (bundle?.kind !== 'capstan.receipt' || bundle.version !== 1)
      throw new TypeError('not a capstan.receipt of version 1');
    const receipt = parseEnvelope(bundle.receipt);
    return bundle.command === null || bundle.command === undefined
      ? { receipt }
      : { receipt, command: parseEnvelope(bundle.command) };
  } catch (error) {
    const why = error instanceof Error ? error.message : undefined;
    throw new LocalFault('bundle-malformed', 'This is not a receipt that Capstan wrote.', why, { cause: error });
  }
}

function parseEnvelope(text: unknown): Envelope {
  if (typeof text !== 'string') throw new TypeError('an envelope is not base64');
  return decodeEnvelope(fromBase64(text));
}

/**
 * Verifies a bundle offline with pinned keys only, the command's own signature included where its key is pinned.
 *
 * @throws {WireFault} as `verifyReceipt`; `signature-invalid`, `key-revoked`, `key-purpose` of the command's signature
 */
export function verifyBundle(bundle: ParsedBundle, keys: KeyRing): VerifiedBundle {
  const { command, receipt: envelope } = bundle;
  const verified = verifyReceipt({ envelope, keys, ...(command === undefined ? {} : { command }) });
  return { ...verified, orderedBy: command === undefined ? null : orderedBy(command, keys, verified) };
}

function orderedBy(command: Envelope, keys: KeyRing, { receipt }: VerifiedReceipt): string | null {
  try {
    const kind = payloadKind(command.payloadType) ?? 'command';
    const { owner } = verifyEnvelope(command, { kind, purpose: 'command', keys }).key;
    if (owner !== receipt.commandIssuer) throw new WireFault('wrong-issuer', owner);
    return owner;
  } catch (error) {
    if (error instanceof WireFault && error.code === 'key-unknown') return null;
    throw error;
  }
}
