import { KeyRing, pinSuccessor, verifyKeyStatement } from '@capstan/identity';
import { decodeEnvelope, decodeStrict, Direction, KeyStatementSchema } from '@capstan/protocol';

/**
 * Takes the hub's own word that another key is the one of its renewals: verified with what is pinned here, whoever has
 * brought it. On disk when this resolves. One that was taken before has no effect; nor has any where no hub is pinned.
 *
 * @param bytes a serialized Envelope @param save writes the pin
 * @throws {WireFault} as `verifyKeyStatement`
 */
export async function replaceHubKey(
  bytes: Uint8Array,
  keys: KeyRing,
  nowMs: number,
  save: (keys: KeyRing) => Promise<void>,
): Promise<void> {
  const [pinned] = keys.records();
  if (pinned === undefined) return;
  const envelope = decodeEnvelope(bytes);
  const { newKey: told } = decodeStrict(KeyStatementSchema, envelope.payload);
  if (keys.get(told?.keyId ?? '') !== undefined) return;
  const { newKey, oldKey } = verifyKeyStatement(envelope, {
    keys,
    hubId: pinned.owner,
    direction: Direction.HUB_TO_SPOKE,
    purposes: ['lease'],
    nowMs,
  });
  const next = new KeyRing(keys.records());
  pinSuccessor(next, newKey, oldKey);
  await save(next);
  pinSuccessor(keys, newKey, oldKey);
}
