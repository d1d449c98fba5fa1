import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Mesh } from '@capstan/localmesh';
import { agentIn, spawnAgent } from '../support/agents.js';
import { proves } from '../support/proves.js';
import { TestRepository } from '../support/repository.js';
import { until } from '../support/until.js';

jest.setTimeout(300_000);

const run = promisify(execFile);
const CLI = join(process.cwd(), 'dist/apps/cli/src/main.js');

type Item = Record<string, unknown> & { kind: string };

/** A command that goes on, with `--json`: one object in each line. */
class Following implements AsyncDisposable {
  readonly items: Item[] = [];
  notes = '';
  readonly code: Promise<number | null>;
  private readonly child: ChildProcess;

  constructor(mesh: Mesh, ...args: string[]) {
    const env = { ...process.env, CAPSTAN_CONTEXT: mesh.contextFile };
    const child = spawn(process.execPath, [CLI, ...args, '--json'], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    this.child = child;
    let rest = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      this.items.push(...lines.map((line) => JSON.parse(line) as Item));
    });
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => (this.notes += chunk));
    this.code = once(child, 'close').then(([code]) => code as number | null);
  }

  get sequences(): number[] {
    return this.items.filter(({ kind }) => kind === 'capstan.log-line').map(({ sequence }) => Number(sequence));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill('SIGINT');
    await this.code;
  }
}

describe('what is live', () => {
  const repository = new TestRepository();
  let mesh: Mesh;

  beforeAll(async () => {
    mesh = await Mesh.start({ instances: ['quay'], repository: repository.path });
  });
  afterAll(async () => {
    await mesh.stop();
    repository[Symbol.dispose]();
  });

  const capstan = async (...args: string[]): Promise<Item> => {
    const env = { ...process.env, CAPSTAN_CONTEXT: mesh.contextFile };
    return JSON.parse((await run(process.execPath, [CLI, ...args, '--json'], { env })).stdout) as Item;
  };

  it(
    'an agent’s log is followed over a cut, each line once and in order, until the agent has ended',
    proves(['FED-17', 'CLI-01'], async () => {
      await using events = new Following(mesh, 'events', '--after', '0');
      const { agentId } = await spawnAgent(mesh, 'quay', { playbook: 'long-run' });
      await agentIn(mesh, agentId, 'running');
      await using log = new Following(mesh, 'agents', 'logs', '--follow', agentId);
      await until('the first lines', () => log.sequences.length > 0);
      const { spoke } = mesh.instance('quay');
      await spoke.stop();
      await until('the reader is told of the cut', () => log.notes.includes('is away'));
      await spoke.start();
      await until('the reader is told of the return', () => log.notes.includes('is back'));
      await mesh.client.kill(agentId);
      await agentIn(mesh, agentId, 'killed');
      expect(await log.code).toBe(0);

      const { lines } = await mesh.client.logs(agentId, { limit: 5_000 });
      expect(log.sequences).toEqual(lines.map(({ sequence }) => sequence));
      expect(log.items.filter(({ kind }) => kind === 'capstan.log-gap')).toEqual([]);
      const states = (): unknown[] =>
        events.items.flatMap(({ event }) => {
          const { kind, subject, detail } = event as { kind: string; subject: string; detail: { state: string } };
          return kind === 'agent.reported' && subject === agentId ? [detail.state] : [];
        });
      await until('the end is told', () => states().includes('killed'));
      expect([...new Set(states())]).toEqual(['queued', 'spawning', 'running', 'killed']);
    }),
  );

  it(
    'an instance is asked for its catalog and its agents',
    proves(['FED-17', 'CLI-01'], async () => {
      expect(await capstan('spoke', 'catalog', 'quay')).toMatchObject({
        kind: 'capstan.catalog',
        catalog: { instance: 'quay', version: '0.1.0', tenants: ['default'] },
      });
      const { agentId } = await spawnAgent(mesh, 'quay');
      await agentIn(mesh, agentId, 'completed');
      const { agents } = (await capstan('agents', 'ls', '--live', '--on', 'quay')) as unknown as {
        agents: { agentId: string; state: string }[];
      };
      expect(agents[0]).toMatchObject({ agentId, state: 'completed' });
    }),
  );
});
