import { existsSync } from 'node:fs';
import { makeKeyStatement, pinnedFetch, SigningKey } from '@capstan/identity';
import {
  decodeEnvelope,
  Direction,
  encodeEnvelope,
  faultSentence,
  fromBase64,
  keyId as toKeyId,
  LocalFault,
  stripControl,
  toBase64,
} from '@capstan/protocol';
import { InstanceDir } from '../instance/instance-dir.js';
import { readInstanceFile } from '../instance/instance-file.js';
import { INSTANCE_PURPOSES } from '../instance/spoke-identity.js';
import { OwnKeyFiles, type OwnKeyRecord, type PendingKey } from './own-key-files.js';

const ANSWER_MS = 15_000;

/**
 * Puts a new identity key in the place of one that is lost or stolen, by the owner's root key. May be repeated until it
 * succeeds; a spoke that runs must be started again, unless its hub tells it.
 *
 * @throws LocalFault `key-file-…`, `key-record-…`, `instance-…`, `hub-unreachable`, `recovery-refused`
 */
export async function recoverKey(o: {
  dir: string;
  rootKeyFile: string;
  now?: () => number;
}): Promise<{ instanceId: string; keyId: string; epoch: number }> {
  const dir = new InstanceDir(o.dir);
  const files = new OwnKeyFiles(dir);
  const { instanceId, hub } = await readInstanceFile(dir.instanceFile);
  const root = await SigningKey.load(o.rootKeyFile);
  const before = await recordOfLost(dir, files);
  // A key that only a rotation has named may be known to whoever has stolen the old one.
  if (!isSignedBy(await files.pending(), root)) await files.discard();
  const key = await files.next();
  const nowMs = (o.now ?? Date.now)();
  const old = { keyId: toKeyId(before.keyId), owner: instanceId, purposes: INSTANCE_PURPOSES, epoch: before.epoch };
  const about = { old, key, by: root, hubId: hub.id, direction: Direction.SPOKE_TO_HUB, nowMs };
  const statement = toBase64(encodeEnvelope(makeKeyStatement(about)));
  const pending: PendingKey = { version: 1, keyId: key.keyId, epoch: old.epoch + 1, oldUntilMs: nowMs, statement };
  await files.keep(pending);
  await post(new URL('/api/v1/federation/key-statements', hub.url), hub.tls?.pin, statement);
  await files.adopt(pending, before);
  await files.forgetOld();
  return { instanceId, keyId: key.keyId, epoch: pending.epoch };
}

/** A stolen key lies in its file still; of a lost one there is the record alone. */
async function recordOfLost(dir: InstanceDir, files: OwnKeyFiles): Promise<OwnKeyRecord> {
  if (existsSync(dir.identityKey)) return files.record((await SigningKey.load(dir.identityKey)).keyId);
  const last = await files.last();
  if (last !== undefined) return last;
  const what = 'Neither the lost key nor the record of it (key-record.json) is in the directory of the instance.';
  throw new LocalFault('key-record-missing', what, dir.keyRecordFile);
}

function isSignedBy(pending: PendingKey | undefined, { keyId: signer }: SigningKey): boolean {
  if (pending === undefined) return false;
  return decodeEnvelope(fromBase64(pending.statement)).signatures.some(({ keyId }) => keyId === signer);
}

async function post(url: URL, pin: string | undefined, statement: string): Promise<void> {
  let response: Response;
  let text: string;
  try {
    const headers = { 'content-type': 'application/json' };
    const signal = AbortSignal.timeout(ANSWER_MS);
    response = await pinnedFetch(pin)(url, { method: 'POST', headers, body: JSON.stringify({ statement }), signal });
    text = await response.text();
  } catch (cause) {
    if (cause instanceof LocalFault) throw cause;
    throw new LocalFault('hub-unreachable', 'The hub cannot be reached.', url.origin, { cause });
  }
  if (response.ok) return;
  const code = codeOf(text) ?? String(response.status);
  throw new LocalFault('recovery-refused', `The hub refused: ${stripControl(faultSentence(code)).slice(0, 300)}`, code);
}

function codeOf(text: string): string | undefined {
  try {
    const { code } = JSON.parse(text) as { code?: unknown };
    return typeof code === 'string' ? code : undefined;
  } catch {
    return undefined;
  }
}
