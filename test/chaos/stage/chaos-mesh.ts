import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HubClient, Mesh } from '@capstan/localmesh';
import { makeRepository } from '../../bench/repository.ts';
import { readBranches } from '../evidence/branches.ts';
import { HubDatabase } from '../evidence/hub-record.ts';
import { instanceRecord, valkeyTime } from '../evidence/instance-record.ts';
import { environmentOf, livingOf } from '../evidence/processes.ts';
import type { History, OrderRecord } from '../history/history.ts';
import { Clocks } from './clocks.ts';
import { Model } from './model.ts';
import { Wire } from './wire.ts';

export const INSTANCES = ['harbor', 'quay'];
const TEARDOWN_MS = 60_000;

interface Tokens {
  stops: string;
  rearms: string;
}

/** A real mesh of one hub or two, and two instances, whose wires, clocks, processes and model are in our hands. */
export class ChaosMesh implements AsyncDisposable {
  /** Everything that was ordered since it was started, in all runs. */
  readonly orders: OrderRecord[] = [];
  readonly mesh: Mesh;
  readonly model: Model;
  /** Those of each instance, one to each hub. */
  readonly wires: ReadonlyMap<string, readonly Wire[]>;
  /** Undefined where clocks cannot be moved. */
  readonly clocks: Clocks | undefined;
  private readonly parts: AsyncDisposableStack;
  private readonly tokens: Tokens;

  private constructor(
    parts: Pick<ChaosMesh, 'mesh' | 'model' | 'wires' | 'clocks'> & { parts: AsyncDisposableStack; tokens: Tokens },
  ) {
    this.mesh = parts.mesh;
    this.model = parts.model;
    this.wires = parts.wires;
    this.clocks = parts.clocks;
    this.parts = parts.parts;
    this.tokens = parts.tokens;
  }

  /** @param stateDir stays when it has ended: its logs may be wanted */
  static async start(stateDir: string, hubs: number): Promise<ChaosMesh> {
    await using parts = new AsyncDisposableStack();
    const clocks = parts.use(await Clocks.of(stateDir));
    const repository = parts.use(makeRepository());
    const model = parts.use(await Model.start());
    const wires = new Map<string, Wire[]>();
    parts.defer(async () => {
      for (const wire of [...wires.values()].flat()) await wire[Symbol.asyncDispose]();
    });
    const mesh = parts.use(
      await Mesh.start({
        stateDir,
        hubs,
        instances: INSTANCES,
        repository: repository.path,
        envOf: (name) => clocks?.envOf(name) ?? {},
        model: { provider: 'anthropic', apiKey: 'chaos', url: model.url },
        policy: { concurrency: 4 },
      }),
    );
    await Promise.all(INSTANCES.map(async (id) => wires.set(id, await layWires(mesh, id))));
    for (const instance of mesh.instances) {
      await clocks?.proveOf(`${instance.id}/valkey`, () => valkeyTime(instance));
    }
    letInstancesOrder(mesh);
    const tokens = { stops: await tokenOf(mesh, 'alice'), rearms: await tokenOf(mesh, 'bob') };
    return new ChaosMesh({ mesh, model, wires, clocks, tokens, parts: parts.move() });
  }

  /** One of the hubs, as an admin reaches it. */
  client(via: number): HubClient {
    return this.hub(via).client;
  }

  /** The same for one of two people: who stops a scope does not re-arm it. */
  as(who: keyof Tokens, via: number): HubClient {
    return new HubClient(this.hub(via).url, this.tokens[who]);
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
    await this.parts.disposeAsync();
    clearTimeout(late);
  }

  private hub(via: number): Mesh['hub'] {
    return this.mesh.hubs[via % this.mesh.hubs.length] ?? this.mesh.hub;
  }
}

async function tokenOf(mesh: Mesh, person: string): Promise<string> {
  return (await mesh.client.makeToken(person)).token;
}

/** Each instance may order everything on each other, as the hub's routing policy and the owners' own say. */
function letInstancesOrder(mesh: Mesh): void {
  const rule = 'verbs: [spawn, status, kill]';
  const rules = INSTANCES.map((origin) => `  - { origin: ${origin}, ${rule}, targets: ["*"], tenants: ["*"] }\n`);
  writeFileSync(join(mesh.stateDir, 'hub', 'routing.yaml'), `version: 1\ninstances:\n${rules.join('')}`);
  for (const { id, dir } of mesh.instances) {
    const peers = INSTANCES.filter((each) => each !== id).map((each) => `  - { instance: ${each}, ${rule} }\n`);
    appendFileSync(join(dir, 'policy.yaml'), `peers:\n${peers.join('')}`);
  }
}

/** Each instance dials another hub first, where there are two. */
async function layWires(mesh: Mesh, id: string): Promise<Wire[]> {
  const first = INSTANCES.indexOf(id) % mesh.hubs.length;
  const inTurn = [...mesh.hubs.slice(first), ...mesh.hubs.slice(0, first)];
  const wires = await Promise.all(inTurn.map(({ port }) => Wire.start(port)));
  const [port = 0, ...others] = wires.map((wire) => wire.port);
  const instance = mesh.instance(id);
  await instance.spoke.stop();
  await instance.noteHubPorts([port, ...others]);
  await instance.spoke.start();
  return wires;
}
