import {
  checkKeyEpoch,
  commandGrants,
  openEnvelope,
  openRouted,
  type KeyRecord,
  type KeyRing,
} from '@capstan/identity';
import { checkOrigin, type CommandOrigin } from '@capstan/platform';
import {
  CommandSchema,
  decodeEnvelope,
  Direction,
  WireFault,
  type Header,
  type KillEpoch,
  type SpawnAgent,
} from '@capstan/protocol';
import type { InstanceFiles } from '../config/instance-files.js';

/** A spawn of which signatures and origin hold. */
export interface SignedSpawn {
  header: Header;
  spawn: SpawnAgent;
  /** SHA-256 of the command's PAE. */
  digest: Uint8Array;
  /** Who has signed it. */
  key: KeyRecord;
  /** Kill epochs under which a hub has admitted another's command; undefined where it has signed the command itself. */
  admittedUnder: readonly KillEpoch[] | undefined;
}

/**
 * Verifies a spawn as the spoke did, from the same files: the hub's own, or that of an operator or another instance with
 * the hub's admission; and that the owner lets them order it. The spoke took it in time and holds on to it while we are
 * away, so that the command's own time is not asked.
 *
 * @param nowMs for what is new: only keys that are believed at this time count. Without it, for what was taken before, a
 *   key that was replaced since still does, and the answer stays the one that was given
 * @param bytes a serialized Envelope. @param admission a serialized Envelope; absent where the hub has signed the command
 * @throws {WireFault} as `openEnvelope`, `openRouted` and `commandGrants`; `policy-operator`, `policy-peer`; `payload-malformed` where it is
 *   no spawn
 */
export async function verifySpawn(
  files: InstanceFiles,
  bytes: Uint8Array,
  admission: Uint8Array | undefined,
  nowMs?: number,
): Promise<SignedSpawn> {
  const at: At = (ring) => (nowMs === undefined ? ring : ring.withClock(() => nowMs));
  const { body, origin, ...opened } =
    admission === undefined ? await openOwn(files, bytes, at) : await openOthers(files, bytes, admission, at);
  if (body.case !== 'spawn') throw new WireFault('payload-malformed', `no spawn: ${body.case ?? 'nothing'}`);
  checkOrigin(await files.policy(), body.case, origin);
  return { ...opened, spawn: body.value };
}

/** A ring as it counts for this command. */
type At = (ring: KeyRing) => KeyRing;

async function openOwn(files: InstanceFiles, bytes: Uint8Array, at: At) {
  const { payload, header, digest, key } = openEnvelope(decodeEnvelope(bytes), CommandSchema, {
    kind: 'command',
    purpose: 'command',
    keys: at(await files.trust()),
    audience: await files.instanceId(),
    direction: Direction.HUB_TO_SPOKE,
    nowMs: 0,
    expiry: 'exempt',
  });
  const { body } = payload;
  if (body.case === undefined) throw new WireFault('payload-malformed', 'a command without a body');
  checkKeyEpoch(key, header);
  // What an operator has granted counts as his own, whoever carries it out.
  const grants = commandGrants({ header, body, key }, at(await files.operators()));
  const origin: CommandOrigin = { kind: grants === undefined ? 'hub' : 'operator' };
  return { header, body: payload.body, digest, key, origin, admittedUnder: undefined };
}

async function openOthers(files: InstanceFiles, bytes: Uint8Array, admission: Uint8Array, at: At) {
  const [hub, operators, peers] = await Promise.all([files.trust(), files.operators(), files.peers()]);
  const opened = openRouted(
    { envelope: decodeEnvelope(bytes), admission: decodeEnvelope(admission) },
    { hub: at(hub), operators: at(operators), peers: at(peers) },
    await files.instanceId(),
  );
  const { header, body, digest, key } = opened;
  const isOperators = opened.origin === 'operator' || opened.grants !== undefined;
  const origin: CommandOrigin = isOperators ? { kind: 'operator' } : { kind: 'peer', instance: header.issuer };
  return { header, body, digest, key, origin, admittedUnder: opened.admission.killEpochs };
}
