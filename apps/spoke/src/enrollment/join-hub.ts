import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { loadTrust, replaceFile, saveTrust, SealingKey, SigningKey } from '@capstan/identity';
import { loadPolicy } from '@capstan/platform';
import { bytesEqual, instanceId as parseInstanceId, LocalFault } from '@capstan/protocol';
import { InstanceDir } from '../instance/instance-dir.js';
import { type InstanceFile, writeInstanceFile } from '../instance/instance-file.js';
import { OwnKeyFiles } from '../keys/own-key-files.js';
import { type Endorse, endorseByReaper } from './endorsement.js';
import { type Invite, parseInvite } from './invite.js';
import { hubKeys, redeem } from './redeem.js';
import { keepStatement, keptStatement, makeStatement, pendingFile } from './statement.js';

export interface JoinOptions {
  /** The instance's directory; made where it does not exist. */
  dir: string;
  invite: string;
  /** The instance's name in the federation. */
  instanceId: string;
  displayName?: string;
  /** Although it belongs to a hub already: the connection ended, or the owner changes the hub. */
  isAgain?: boolean;
  /** Raw Ed25519 of the owner's offline root key, which may replace a lost identity key. */
  rootKey?: Uint8Array;
  endorse?: Endorse;
  now?: () => number;
}

const CAPABILITY = /^[a-z0-9][a-z0-9._-]{0,62}$/;
const MOST_CAPABILITIES = 32;

/** Nobody may start anything here until the owner says who and what. */
const CLOSED_POLICY = `# The owner of this instance decides here what others may start on it.
version: 1
spawn:
  runtimes: [claude]
  # Exact paths or URLs, or prefixes that end in /*
  repositories: []
  tenants: [default]
  concurrency: 4
  budgetMicroUsd: 1000000
  timeoutMs: 3600000
  sandboxes: [bubblewrap]
`;

/**
 * Enrols an instance with the hub of an invitation: makes its identity key, proves possession of it, pins the hub's
 * key, and writes who it is. May be repeated until it succeeds: the same statement is sent again.
 *
 * @returns the instance as it was written, and the state of its connection, PENDING or ACTIVE
 * @throws LocalFault `already-joined`, `directory-unusable`, `invite-…`, `hub-unreachable`, `enrollment-…`, `key-file-…`; WireFault id-malformed
 */
export async function joinHub(o: JoinOptions): Promise<{ instance: InstanceFile; state: string }> {
  const nowMs = (o.now ?? Date.now)();
  const dir = new InstanceDir(o.dir);
  const instanceId = parseInstanceId(o.instanceId);
  const displayName = o.displayName ?? instanceId;
  if (existsSync(dir.instanceFile) && o.isAgain !== true)
    throw new LocalFault('already-joined', 'This instance belongs to a hub already.', o.dir);
  const invite = parseInvite(o.invite, nowMs);
  await prepare(dir);
  const key = await SigningKey.loadOrCreate(dir.identityKey);
  let statement = await keptStatement(o.dir, invite, instanceId);
  if (statement === undefined) {
    const reaper = await (o.endorse ?? endorseByReaper)(o.dir, instanceId, key.publicKey, {
      id: invite.hubId,
      key: invite.hubKey,
      epoch: invite.hubKeyEpoch,
    });
    const { publicKey: sealingKey } = await SealingKey.loadOrCreate(dir.sealingKey);
    const capabilities = await offered(dir);
    const about = { instanceId, displayName, key, reaper, sealingKey, capabilities, rootKey: o.rootKey };
    statement = makeStatement({ invite, ...about, nowMs });
    await keepStatement(o.dir, invite, instanceId, statement);
  }
  const { connectionId, state } = await redeem(invite, statement, instanceId, nowMs);
  if (!(await isPinned(dir, invite))) {
    // Another hub counts its own revocations, and writes its own record.
    await rm(dir.revocationEpochFile, { force: true });
    await rm(dir.keyRecordFile, { force: true });
    for (const file of [dir.hubHeadFile, dir.hubHeadsFile]) await putAside(file, nowMs);
  }
  await new OwnKeyFiles(dir).remember(key.keyId);
  await saveTrust(dir.trustFile, hubKeys(invite));
  const isTls = invite.url.protocol === 'https:';
  const hub = { id: invite.hubId, url: invite.url.origin, ...(isTls ? { tls: invite.tls } : {}) };
  const instance: InstanceFile = { version: 1, instanceId, displayName, hub, connectionId };
  // Last: its presence says that everything else is there.
  await writeInstanceFile(dir.instanceFile, instance);
  await rm(pendingFile(o.dir), { force: true });
  return { instance, state };
}

/** Runtimes and sandboxes that the owner's policy names; without a readable policy nothing is offered. */
async function offered({ policyFile }: InstanceDir): Promise<string[]> {
  const policy = await loadPolicy(policyFile).catch(() => undefined);
  if (policy === undefined) return [];
  const { runtimes, sandboxes } = policy.spawn;
  const names = [...sandboxes.map((name) => `sandbox.${name}`), ...runtimes.map((name) => `runtime.${name}`)];
  // The hub refuses the whole statement for one that it cannot read.
  return names.filter((name) => CAPABILITY.test(name)).slice(0, MOST_CAPABILITIES);
}

/** What was kept of another hub's log is evidence still. */
async function putAside(file: string, nowMs: number): Promise<void> {
  if (existsSync(file)) await rename(file, `${file}.${String(nowMs)}`);
}

async function isPinned({ trustFile }: InstanceDir, { hubKey }: Invite): Promise<boolean> {
  if (!existsSync(trustFile)) return false;
  return (await loadTrust(trustFile)).records().some(({ publicKey }) => bytesEqual(publicKey, hubKey));
}

/** What every instance needs, as far as it is not there yet. */
async function prepare(dir: InstanceDir): Promise<void> {
  await mkdir(dir.root, { recursive: true, mode: 0o700 }).catch((cause: unknown) => {
    throw new LocalFault('directory-unusable', `${dir.root} is no directory, and none can be made.`, undefined, {
      cause,
    });
  });
  for (const file of [dir.auditLog, dir.orchestratorToken, dir.reaperSocket]) {
    await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  }
  for (const token of [dir.orchestratorToken, dir.spokeToken]) {
    if (!existsSync(token)) await replaceFile(token, `${randomBytes(32).toString('hex')}\n`, 0o600);
  }
  if (!existsSync(dir.policyFile)) await replaceFile(dir.policyFile, CLOSED_POLICY, 0o600);
}
