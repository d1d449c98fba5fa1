import { join } from 'node:path';
import { bundleEntryLine, type BundleSource, GENESIS, LogReader, signTreeHead } from '@capstan/evidence';
import { SigningKey } from '@capstan/identity';
import type { HubClient } from '@capstan/localmesh';
import { decodeEnvelope, fromBase64, fromHex, LocalFault } from '@capstan/protocol';
import { hubStatements, ownStatements } from '../key-statements.js';
import { readIdentity } from './instance-identity.js';

/** Entries in one answer of the hub. */
const PAGE = 1_000;

export interface NamedSource extends BundleSource {
  logId: string;
}

/** The hub's own log, from its API; its head is signed by the hub, and nothing of it is believed yet. */
export async function hubSource(client: HubClient): Promise<NamedSource> {
  const [{ logId, size, head }, keyStatements] = await Promise.all([client.auditHead(), hubStatements(client)]);
  const hashes = async (asked: Promise<{ hashes: string[] }>) => (await asked).hashes.map(fromHex);
  return {
    logId,
    size,
    head: decodeEnvelope(fromBase64(head)),
    keyStatements,
    compactRange: (entries) => hashes(client.auditCompactRange(entries)),
    consistencyProof: (from, to) => hashes(client.auditConsistency(from, to)),
    hashOf: (sequence) => hubHash(client, sequence),
    lines: (from, to) => hubLines(client, from, to),
  };
}

/**
 * An instance's own log, from its directory; its head is signed here with the instance's own key, so that only its owner
 * can make one.
 */
export async function localSource(directory: string): Promise<NamedSource> {
  const { instanceId, hubId } = await readIdentity(directory);
  const [key, log] = await Promise.all([
    SigningKey.load(join(directory, 'identity.key')),
    LogReader.open(join(directory, 'audit', 'spoke.log')),
  ]);
  const keyStatements = await ownStatements(directory);
  const state = { size: log.tree.size, root: log.tree.root() };
  return {
    logId: instanceId,
    size: state.size,
    keyStatements,
    head: signTreeHead({ key, owner: 'instance', logId: instanceId, audience: hubId, ...state, nowMs: Date.now() }),
    compactRange: (size) => log.tree.compactRange(size),
    consistencyProof: (from, to) => log.tree.consistencyProof(from, to),
    hashOf: (sequence) => log.hashOf(sequence),
    lines: (from, to) => log.lines(from, to),
  };
}

async function hubHash(client: HubClient, sequence: number): Promise<Uint8Array> {
  if (sequence === 0) return GENESIS;
  const [entry] = (await client.audit({ after: sequence - 1, limit: 1 })).entries;
  if (entry?.sequence !== sequence) throw missing(sequence);
  return fromHex(entry.hash);
}

async function* hubLines(client: HubClient, from: number, to: number): AsyncGenerator<string> {
  for (let after = from - 1; after < to;) {
    const page = await client.audit({ after, limit: Math.min(PAGE, to - after) });
    if (page.entries.length === 0) throw missing(after + 1);
    for (const { hash, record } of page.entries) yield bundleEntryLine(fromHex(hash), record);
    after = page.next;
  }
}

function missing(sequence: number): LocalFault {
  return new LocalFault('audit-incomplete', `The hub does not show entry ${String(sequence)} of its own log.`);
}
