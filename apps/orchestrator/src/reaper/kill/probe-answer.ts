import { makeHeader, signPayload, type SigningKey } from '@capstan/identity';
import { create, Direction, encodeEnvelope, ProbeAnswerSchema, toBinary } from '@capstan/protocol';

/** Evidence that a kill would have reached the reaper at that time: it is read long after. Ten years, milliseconds. */
const LIFETIME_MS = 10 * 365 * 24 * 3600 * 1000;

/** What the reaper says of itself when it is probed. */
export interface ProbeSaid {
  instanceId: string;
  nonce: Uint8Array;
  commandDigest: Uint8Array;
  takenAtMs: number;
  bootId: string;
  livingAgents: number;
}

/** Signed with the key that signs deaths, as a payload of its own kind: it can never be taken for one. */
export function signProbeAnswer(key: SigningKey, said: ProbeSaid): Uint8Array {
  const { instanceId, takenAtMs, ...rest } = said;
  const answer = create(ProbeAnswerSchema, {
    header: makeHeader({
      issuer: instanceId,
      audience: instanceId,
      direction: Direction.LOCAL,
      lifetimeMs: LIFETIME_MS,
    }),
    takenAtMs: BigInt(takenAtMs),
    ...rest,
  });
  return encodeEnvelope(signPayload(key, 'probe', toBinary(ProbeAnswerSchema, answer)));
}
