import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { verifyLog } from '@capstan/evidence';
import type { MeshInstance } from '@capstan/localmesh';
import { Redis } from 'ioredis';
import { HttpPeer } from '../../bench/http.ts';
import type { InstanceEvidence } from '../history/history.ts';
import { environmentOf } from './processes.ts';
import { readRegister } from './register-file.ts';

/** One of an issuer's commands; ids have no colon. */
const LEDGER = 'spoke:ledger:*:*';
const PRUNED_THROUGH = 'spoke:ledger:pruned-through';
/** As a mesh gives it to its parts: no URL by the letter, its host being empty. */
const VALKEY_URL = /^redis\+unix:\/\/(?<username>[^:]+):(?<password>[^@]+)@(?<path>.+)$/;

/** Everything that an instance has on disk, read when all its parts run. */
export async function instanceRecord(instance: MeshInstance): Promise<InstanceEvidence> {
  const [register, agents, ledger] = await Promise.all([
    readRegister(instance.dir),
    agentsOf(instance),
    ledgerOf(instance),
  ]);
  const verdict = await verifyLog(join(instance.dir, 'audit', 'spoke.log'));
  const found = { id: instance.id, register, agents, ...ledger };
  return verdict.ok ? found : { ...found, logFault: `record ${String(verdict.at)}: ${verdict.why}` };
}

async function agentsOf({ dir, orchestratorSocket }: MeshInstance): Promise<InstanceEvidence['agents']> {
  using orchestrator = new HttpPeer(
    orchestratorSocket,
    readFileSync(join(dir, 'tokens', 'orchestrator.token'), 'utf8').trim(),
  );
  const agents = await orchestrator.call<InstanceEvidence['agents']>('GET', '/agents');
  return agents.map(({ agentId, state }) => ({ agentId, state }));
}

/** What the instance's Valkey takes for the time, milliseconds since the epoch. */
export async function valkeyTime(instance: MeshInstance): Promise<number> {
  const valkey = valkeyOf(instance);
  try {
    const [seconds] = await valkey.time();
    return Number(seconds) * 1000;
  } finally {
    valkey.disconnect();
  }
}

/** As its spoke is connected to it. */
function valkeyOf({ id, spoke }: MeshInstance): Redis {
  const url = environmentOf(spoke.pid ?? 0, 'CAPSTAN_VALKEY_URL');
  if (url === undefined) throw new Error(`the spoke of ${id} names no Valkey`);
  const { username, password, path } = VALKEY_URL.exec(url)?.groups ?? {};
  if (username === undefined || password === undefined || path === undefined) throw new Error(`not on a socket: ${id}`);
  const valkey = new Redis({ path: decodeURI(path), username, password });
  valkey.on('error', () => undefined);
  return valkey;
}

async function ledgerOf(instance: MeshInstance): Promise<Pick<InstanceEvidence, 'ledger' | 'prunedThrough'>> {
  const valkey = valkeyOf(instance);
  try {
    const ids: string[] = [];
    for (let cursor = '0'; ;) {
      const [next, keys] = await valkey.scan(cursor, 'MATCH', LEDGER, 'COUNT', 500);
      ids.push(...keys.map((key) => key.slice(key.lastIndexOf(':') + 1)));
      cursor = next;
      if (cursor !== '0') continue;
      return { ledger: ids, prunedThrough: Number((await valkey.get(PRUNED_THROUGH)) ?? 0) };
    }
  } finally {
    valkey.disconnect();
  }
}
