import { believeStatements, checkIssuedInTime, explainUnknown, verifyEnvelope, type KeyRing } from '@capstan/identity';
import {
  CommandSchema,
  decodeEnvelope,
  encodeEnvelope,
  fromBase64,
  fromBinary,
  LocalFault,
  payloadKind,
  QuerySchema,
  toBase64,
  WireFault,
  type Envelope,
} from '@capstan/protocol';
import { verifyReceipt, type VerifiedReceipt } from './verify-receipt.js';

/** More key changes than anybody makes; bounds what a stranger's file makes us verify. */
const MOST_STATEMENTS = 1_000;

/** A receipt in a file, for people to keep and to hand on. It holds no keys: those must come from elsewhere. */
export interface ReceiptBundle {
  version: 1;
  kind: 'capstan.receipt';
  /** Base64 of the envelope that was answered, if it is kept with it. */
  command: string | null;
  /** Base64 of the receipt's envelope. */
  receipt: string;
  /** Base64 of the statements that lead from keys that were pinned once to those that signed; absent where there are none. */
  keyStatements?: string[];
}

export interface ParsedBundle {
  command?: Envelope;
  receipt: Envelope;
  keyStatements?: readonly Envelope[];
}

export interface VerifiedBundle extends VerifiedReceipt {
  /** Owner of the pinned key that signed the command; null where there is no command or its key is not pinned. */
  orderedBy: string | null;
}

/** The bundle of a receipt and of what it answers. */
export function makeBundle({ command, receipt, keyStatements = [] }: ParsedBundle): ReceiptBundle {
  return {
    version: 1,
    kind: 'capstan.receipt',
    command: command === undefined ? null : toBase64(encodeEnvelope(command)),
    receipt: toBase64(encodeEnvelope(receipt)),
    ...(keyStatements.length === 0
      ? {}
      : { keyStatements: keyStatements.map((each) => toBase64(encodeEnvelope(each))) }),
  };
}

/** The envelopes in a bundle; nothing in them is verified yet. @throws {LocalFault} `bundle-malformed` */
export function parseBundle(json: unknown): ParsedBundle {
  try {
    const bundle = json as Partial<Record<keyof ReceiptBundle, unknown>> | null;
    if (bundle?.kind !== 'capstan.receipt' || bundle.version !== 1)
      throw new TypeError('not a capstan.receipt of version 1');
    const { keyStatements = [] } = bundle;
    if (!Array.isArray(keyStatements) || keyStatements.length > MOST_STATEMENTS) throw new TypeError('keyStatements');
    const parsed = { receipt: parseEnvelope(bundle.receipt), keyStatements: keyStatements.map(parseEnvelope) };
    return bundle.command === null || bundle.command === undefined
      ? parsed
      : { ...parsed, command: parseEnvelope(bundle.command) };
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
 * Verifies a bundle offline, the command's own signature included where its key is known: with pinned keys, and those
 * to which the statements in the bundle lead from there.
 *
 * @throws {WireFault} as `verifyReceipt`; `signature-invalid`, `key-revoked`, `key-purpose` of the command's signature
 * @throws {LocalFault} `key-unfollowed`, `key-fork` where its key came after a pinned one, and not so that it is believed
 */
export function verifyBundle(bundle: ParsedBundle, pinned: KeyRing): VerifiedBundle {
  const { command, receipt: envelope, keyStatements = [] } = bundle;
  const belief = believeStatements(pinned, keyStatements);
  const { keys } = belief;
  let verified: VerifiedReceipt;
  try {
    verified = verifyReceipt({ envelope, keys, ...(command === undefined ? {} : { command }) });
  } catch (error) {
    throw explainUnknown(error, belief, envelope);
  }
  return { ...verified, orderedBy: command === undefined ? null : orderedBy(command, keys, verified) };
}

function orderedBy(command: Envelope, keys: KeyRing, { receipt }: VerifiedReceipt): string | null {
  try {
    const kind = payloadKind(command.payloadType) ?? 'command';
    const { key } = verifyEnvelope(command, { kind, purpose: 'command', keys });
    const { owner } = key;
    const { header } =
      kind === 'query' ? fromBinary(QuerySchema, command.payload) : fromBinary(CommandSchema, command.payload);
    checkIssuedInTime(key, header ?? { issuedAtMs: 0n });
    if (owner !== receipt.commandIssuer) throw new WireFault('wrong-issuer', owner);
    return owner;
  } catch (error) {
    if (error instanceof WireFault && error.code === 'key-unknown') return null;
    throw error;
  }
}
