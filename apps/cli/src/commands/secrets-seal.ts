import { buffer } from 'node:stream/consumers';
import { sealSecret } from '@capstan/identity';
import { agentId, encodeEnvelope, toBase64 } from '@capstan/protocol';
import { openContext } from '../open-context.js';
import { ownOperator } from '../operators/own-operator.js';
import type { Output } from '../output/output.js';
import { sealingKeyOf } from '../secrets/sealing-key-of.js';

/** As long as a spawn waits for its instance unless it is told otherwise, and a little more. */
export const SECRET_LIFETIME_MS = 10 * 60_000;

export interface SealOptions {
  context?: string;
  for: string;
  agent: string;
  name: string;
  /** Default: the context's operator. */
  key?: string;
  as?: string;
  /** Seconds. */
  expires?: number;
}

/**
 * Seals what comes on standard input; a single line end behind it is no part of it. Never an argument: those stand in the
 * process list and in the shell's history.
 *
 * @throws WireFault `secret-unreadable` for a name or value that no instance takes; as `sealingKeyOf`
 */
export async function seal(
  output: Output,
  options: SealOptions,
  input: NodeJS.ReadableStream = process.stdin,
): Promise<void> {
  const [opened, { id, key }, value] = await Promise.all([
    openContext(options),
    ownOperator(options),
    buffer(input).then(withoutLineEnd),
  ]);
  const lifetimeMs = options.expires === undefined ? SECRET_LIFETIME_MS : options.expires * 1000;
  const sealed = sealSecret({
    recipient: await sealingKeyOf(opened, options.for),
    issuer: id,
    sender: key,
    audience: options.for,
    agentId: agentId(options.agent),
    name: options.name,
    value,
    lifetimeMs,
  });
  const text = toBase64(encodeEnvelope(sealed));
  const expiresAt = new Date(Date.now() + lifetimeMs).toISOString();
  const { for: instance, agent, name } = options;
  output.result('sealed', { instance, agentId: agent, name, expiresAt, sealed: text }, [text]);
}

function withoutLineEnd(bytes: Buffer): Uint8Array {
  const end = bytes.at(-1) === 0x0a ? (bytes.at(-2) === 0x0d ? -2 : -1) : bytes.length;
  return Uint8Array.from(bytes.subarray(0, end));
}
