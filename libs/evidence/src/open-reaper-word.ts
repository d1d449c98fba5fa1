import { openEnvelope, type KeyRing, type Opened } from '@capstan/identity';
import { decodeEnvelope, Direction, WireFault } from '@capstan/protocol';

/** What the reaper of an instance is said to have signed. */
export interface ReaperWord {
  instance: string;
  kind: 'observation' | 'probe' | 'kill-all';
  /** A serialized Envelope. */
  bytes: Uint8Array;
  /** Why it is refused, whatever is wrong with it. */
  code: 'observation-invalid' | 'statement-invalid';
}

/**
 * Opens it with the keys that observe for this instance. No clock is asked: what was seen stays seen.
 *
 * @throws {WireFault} `code`
 */
export function openReaperWord<S extends Parameters<typeof openEnvelope>[1]>(
  { instance, kind, bytes, code }: ReaperWord,
  schema: S,
  keys: KeyRing,
): Opened<S>['payload'] {
  try {
    const want = { kind, purpose: 'observe', keys, audience: instance, direction: Direction.LOCAL } as const;
    const { payload, key } = openEnvelope(decodeEnvelope(bytes), schema, { ...want, nowMs: 0, expiry: 'exempt' });
    if (key.owner !== instance) throw new WireFault('wrong-issuer', `signed by ${key.owner}`);
    return payload;
  } catch (error) {
    throw new WireFault(code, error instanceof WireFault ? error.code : undefined, { cause: error });
  }
}
