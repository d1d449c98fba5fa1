import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { HubClient, Mesh } from '@capstan/localmesh';
import { makeRepository } from '../../bench/repository.ts';
import { readBranches } from '../evidence/branches.ts';
import { HubDatabase } from '../evidence/hub-record.ts';
import { instanceRecord } from '../evidence/instance-record.ts';
import { environmentOf, livingOf } from '../evidence/processes.ts';
import type { History, OrderRecord } from '../history/history.ts';
import { Model } from './model.ts';
import { Wire } from './wire.ts';

export const INSTANCES = ['harbor', 'quay'];
const TEARDOWN_MS = 60_000;

/** A real mesh of one hub and two instances whose wires, processes and model are in our hands. */
export class ChaosMesh implements AsyncDisposable {
  /** Everything that was ordered since it was started, in all runs. */
  readonly orders: OrderRecord[] = [];
  readonly mesh: Mesh;
  readonly model: Model;
  readonly wires: ReadonlyMap<string, Wire>;
  /** Another admin: who stops a scope does not re-arm it. */
  readonly second: HubClient;
  private readonly repository: Disposable;

  private constructor(parts: Pick<ChaosMesh, 'mesh' | 'model' | 'wires' | 'second'> & { repository: Disposable }) {
    this.mesh = parts.mesh;
    this.model = parts.model;
    this.wires = parts.wires;
    this.second = parts.second;
    this.repository = parts.repository;
  }

  /** @param stateDir stays when it has ended: its logs may be wanted */
  static async start(stateDir: string): Promise<ChaosMesh> {
    const model = await Model.start();
    const repository = makeRepository();
    const mesh = await Mesh.start({
      stateDir,
      instances: INSTANCES,
      repository: repository.path,
      model: { provider: 'anthropic', apiKey: 'chaos', url: model.url },
      policy: { concurrency: 4 },
    });
    const wires = new Map(await Promise.all(INSTANCES.map(async (id) => [id, await layWire(mesh, id)] as const)));
    const { token } = await mesh.client.makeToken('second');
    return new ChaosMesh({ mesh, model, wires, second: new HubClient(mesh.hub.url, token), repository });
  }

  /** The process that bears this name now; undefined while it is being started again. */
  pidOf(name: string): number | undefined {
    const file = readFileSync(join(this.mesh.stateDir, 'processes.json'), 'utf8');
    return (JSON.parse(file) as { name: string; pid: number }[]).find((entry) => entry.name === name)?.pid;
  }

  /** The hub's database, over a connection of our own. */
  database(): Promise<HubDatabase> {
    const pid = this.mesh.hub.process.pid;
    const url = pid === undefined ? undefined : environmentOf(pid, 'CAPSTAN_DATABASE_URL');
    if (url === undefined) throw new Error('the hub names no database');
    return HubDatabase.connect(url);
  }

  /** Reads everything there is, when all parts run again. */
  async history(): Promise<History> {
    await using database = await this.database();
    const record = await database.read();
    const instances = await Promise.all(this.mesh.instances.map(instanceRecord));
    return {
      ...record,
      orders: [...this.orders],
      calls: [...this.model.calls],
      instances,
      branches: await readBranches(this.mesh.repository?.path ?? ''),
      living: instances.flatMap(({ register }) => livingOf(register)),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const late = setTimeout(() => {
      process.stderr.write(`The mesh in ${this.mesh.stateDir} takes long to end.\n`);
    }, TEARDOWN_MS);
    await this.mesh.stop();
    clearTimeout(late);
    for (const wire of this.wires.values()) await wire[Symbol.asyncDispose]();
    await this.model[Symbol.asyncDispose]();
    this.repository[Symbol.dispose]();
  }
}

async function layWire(mesh: Mesh, id: string): Promise<Wire> {
  const wire = await Wire.start(mesh.hub.port);
  const instance = mesh.instance(id);
  await instance.spoke.stop();
  await instance.noteHubPort(wire.port);
  await instance.spoke.start();
  return wire;
}
