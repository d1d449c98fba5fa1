import { sealSecret, type SigningKey } from '@capstan/identity';
import { encodeEnvelope, LocalFault } from '@capstan/protocol';
import type { OpenContext } from '../open-context.js';
import { sealingKeyOf } from './sealing-key-of.js';

/** A secret outlives the spawn that brings it by this much, so that it does not expire first. */
const MARGIN_MS = 60_000;

export interface SealEnvironment {
  instance: string;
  agentId: string;
  /** Environment variables of this process. */
  names: readonly string[];
  /** Who signs the spawn; nobody else's secrets are taken with it. */
  issuer: string;
  sender: SigningKey;
  /** Of the spawn, milliseconds. */
  lifetimeMs: number;
  env?: NodeJS.ProcessEnv;
}

/**
 * Seals environment variables of this process for one agent, as a spawn carries them.
 *
 * @throws LocalFault `secret-missing` where a variable is not set; as `sealingKeyOf` and `sealSecret`
 */
export async function sealEnvironment(opened: OpenContext, o: SealEnvironment): Promise<Uint8Array[]> {
  if (o.names.length === 0) return [];
  const { instance: audience, agentId, issuer, sender, env = process.env } = o;
  const recipient = await sealingKeyOf(opened, audience);
  return o.names.map((name) => {
    const value = env[name];
    if (value === undefined) throw new LocalFault('secret-missing', `${name} is not set in the environment.`);
    const lifetimeMs = o.lifetimeMs + MARGIN_MS;
    const bytes = new TextEncoder().encode(value);
    return encodeEnvelope(sealSecret({ recipient, issuer, sender, audience, agentId, name, value: bytes, lifetimeMs }));
  });
}
