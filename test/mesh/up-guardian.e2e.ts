import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { HubClient, loadContext } from '@capstan/localmesh';
import { hasProcess, type ProcessIdentity, readProcess } from '@capstan/sandbox';
import { proves } from '../support/proves.js';
import { TestRepository } from '../support/repository.js';
import { until } from '../support/until.js';

jest.setTimeout(90_000);

const LOCALMESH = pathToFileURL(join(process.cwd(), 'dist/libs/localmesh/src/index.js')).href;
/** A few seconds: the agents' kill, then five stages of processes that end by themselves. */
const GONE_MS = 8000;

interface Supervised {
  stateDir: string;
  contextFile: string;
  remote: string;
}

type Living = ProcessIdentity & { command: string };

describe('the guardian of a mesh', () => {
  const repository = new TestRepository();
  const started: ChildProcess[] = [];

  afterEach(async () => {
    for (const child of started.splice(0)) if (isRunning(child)) await ended(child, 'SIGTERM');
  });
  afterAll(() => {
    repository[Symbol.dispose]();
  });

  /** A mesh with a temporary state directory, in a process that can be killed. */
  async function supervisor(): Promise<{ child: ChildProcess; mesh: Supervised }> {
    const program = `const { Mesh } = await import(${JSON.stringify(LOCALMESH)});
      const mesh = await Mesh.start({ instances: ['quay'], repository: ${JSON.stringify(repository.path)} });
      process.once('SIGTERM', () => void mesh.stop());
      const { stateDir, contextFile, repository } = mesh;
      console.log(JSON.stringify({ stateDir, contextFile, remote: repository.path }));`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    started.push(child);
    let said = '';
    child.stdout.setEncoding('utf8').on('data', (part: string) => (said += part));
    await until('the mesh is up', () => said.endsWith('\n') || !isRunning(child), 30_000);
    return { child, mesh: JSON.parse(said) as Supervised };
  }

  it(
    'ends everything when the supervisor is killed: servers, hub, instance, agents and the temporary directory',
    proves(['OPS-01', 'ORC-L2'], async () => {
      const { child, mesh } = await supervisor();
      await startLongRun(mesh, child.pid ?? 0);
      const before = descendantsOf(child.pid ?? 0);
      const commands = before.map(({ command }) => command).join('\n');
      for (const part of ['postgres', 'quay/valkey', 'hub/src/main', 'spoke/src/main', 'reaper/main', 'sleep 3600']) {
        expect(commands).toContain(part);
      }
      await ended(child, 'SIGKILL');
      await until('everything is gone', () => before.every((one) => !hasProcess(one)), GONE_MS);
      expect(existsSync(mesh.stateDir)).toBe(false);
    }),
  );

  it('waits in about 1 MB, is replaced when it dies, and goes with its mesh', async () => {
    const { child, mesh } = await supervisor();
    const first = guardianOf(child);
    expect(proportionalKilobytes(first?.pid ?? 0)).toBeLessThan(1536);
    process.kill(first?.pid ?? 0, 'SIGKILL');
    const second = await until('another one waits', () => {
      const found = guardianOf(child);
      return found !== undefined && found.pid !== first?.pid ? found : undefined;
    });
    await ended(child, 'SIGTERM');
    expect(hasProcess(second)).toBe(false);
    expect(existsSync(mesh.stateDir)).toBe(false);
  });
});

/** An agent with children that ignore every signal, one of them in a session of its own. */
async function startLongRun({ contextFile, remote }: Supervised, supervisorPid: number): Promise<void> {
  const context = await loadContext(contextFile);
  const client = new HubClient(context.hubUrl, readFileSync(context.tokenFile, 'utf8').trim());
  await client.spawn({
    instance: 'quay',
    agentType: 'worker',
    context: { repository: remote, workItems: ['Keep watch.'] },
    options: { playbook: 'long-run' },
  });
  await until('its children run', () =>
    descendantsOf(supervisorPid).some(({ command }) => command.startsWith('sleep 3600')),
  );
}

function guardianOf(child: ChildProcess): Living | undefined {
  return descendantsOf(child.pid ?? 0).find(({ command }) => command.includes('capstan-guardian'));
}

/** Every process below `root`, those in sandboxes too. */
function descendantsOf(root: number): Living[] {
  const all = new Map(
    readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .flatMap((pid) => readProcess(Number(pid)) ?? [])
      .map((view) => [view.pid, view]),
  );
  const isBelow = (pid: number): boolean => {
    const parent = all.get(pid)?.parentPid;
    return parent !== undefined && (parent === root || isBelow(parent));
  };
  return [...all.values()].filter(({ pid }) => isBelow(pid)).map((view) => ({ ...view, command: commandOf(view.pid) }));
}

function commandOf(pid: number): string {
  return read(pid, 'cmdline').replaceAll('\0', ' ');
}

function proportionalKilobytes(pid: number): number {
  return Number(/^Pss: +(\d+) kB$/m.exec(read(pid, 'smaps_rollup'))?.[1]);
}

function read(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${String(pid)}/${file}`, 'utf8');
  } catch {
    return '';
  }
}

function isRunning({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode === null && signalCode === null;
}

async function ended(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  const exited = once(child, 'exit');
  child.kill(signal);
  await exited;
}
