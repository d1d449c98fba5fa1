import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { proves } from '../support/proves.js';
import { git, TestRepository } from '../support/repository.js';
import { until } from '../support/until.js';

jest.setTimeout(120_000);

const CLI = join(process.cwd(), 'dist/apps/cli/src/main.js');

describe('capstan up --demo', () => {
  let state: string;
  let repository: TestRepository;
  const started: ChildProcess[] = [];

  beforeEach(() => {
    state = mkdtempSync(join(tmpdir(), 'capstan-up-'));
    chmodSync(state, 0o711);
    repository = new TestRepository({ 'README.md': '# Example\n', 'src/a.ts': 'export {};\n' });
  });
  afterEach(async () => {
    // What a failed expectation has left.
    await Promise.all(started.splice(0).map(ended));
    rmSync(state, { recursive: true, force: true });
    repository[Symbol.dispose]();
  });

  function up(...args: string[]): { child: ChildProcess; text: { out: string; err: string } } {
    const env: NodeJS.ProcessEnv = { ...process.env };
    delete env['ANTHROPIC_API_KEY'];
    const child = spawn(
      process.execPath,
      [CLI, 'up', '--demo', '--state', state, '--port', '0', '--repo', repository.path, ...args],
      { env, stdio: ['ignore', 'pipe', 'pipe'] },
    );
    started.push(child);
    const text = { out: '', err: '' };
    child.stdout.setEncoding('utf8').on('data', (part: string) => (text.out += part));
    child.stderr.setEncoding('utf8').on('data', (part: string) => (text.err += part));
    return { child, text };
  }

  it(
    'once, as JSON: one object that tells of a commit and of a proven death; then nothing runs any more',
    proves(['OPS-01', 'ORC-L2', 'ORC-110'], async () => {
      const before = git(repository.path, 'for-each-ref');
      const { child, text } = up('--once', '--json');
      const [code] = (await once(child, 'close')) as [number];
      expect({ code, err: code === 0 ? '' : text.err }).toEqual({ code: 0, err: '' });
      expect(text.out.match(/\n/g)).toHaveLength(1);
      const report = JSON.parse(text.out) as Report;
      expect(report).toMatchObject({
        version: 1,
        hub: { id: 'hub' },
        instances: [
          { id: 'harbor', online: true },
          { id: 'quay', online: true },
        ],
        agents: [
          { instance: 'quay', state: 'completed', files: ['docs/REPOSITORY-MAP.md'] },
          { instance: 'quay', state: 'killed', branch: null, commit: null, files: [] },
        ],
        kill: { confirmed: true, outcome: 'killed', observed: { verified: true, outcome: 'killed' } },
      });
      const [mapped, killed] = report.agents;
      expect(mapped?.receipts.map(({ kind, verified }) => [kind, verified])).toEqual(
        expect.arrayContaining([
          ['spawned', true],
          ['finished', true],
          ['status', true],
        ]),
      );
      expect(killed?.receipts.map(({ kind, verified }) => [kind, verified])).toEqual(
        expect.arrayContaining([
          ['spawned', true],
          ['killed', true],
        ]),
      );
      expect(Date.parse(report.kill.observedDeadAt) - Date.parse(report.kill.requestedAt)).toBe(report.kill.ms);
      const remote = join(state, 'remotes', readdirSync(join(state, 'remotes'))[0] ?? '');
      expect(git(remote, 'rev-parse', `refs/heads/${mapped?.branch ?? ''}`)).toBe(mapped?.commit);
      expect(git(repository.path, 'for-each-ref')).toBe(before);
      expect(processesWith(state)).toEqual([]);
    }),
  );

  it(
    'stays until Ctrl-C, then ends in order with exit code 0 and leaves nothing running',
    proves('OPS-01', async () => {
      const { child, text } = up();
      await until('the mesh stays', () => text.err.includes('Ctrl-C') || child.exitCode !== null, 60_000);
      expect(text.out).toMatch(/observed dead \d+ ms after the order/);
      expect(text.out).toMatch(/npx capstan .*agents kill/);
      expect(text.out).toContain(join(state, 'hub', 'admin.token'));
      child.kill('SIGINT');
      expect(await once(child, 'close')).toEqual([0, null]);
      expect(processesWith(state)).toEqual([]);
    }),
  );

  it('interrupted while it starts exits with 130 and leaves nothing running', async () => {
    const { child, text } = up('--once');
    await until('it has begun', () => text.out.includes('Starting') || child.exitCode !== null);
    await until('something runs', () => processesWith(state).length > 2 || child.exitCode !== null);
    child.kill('SIGINT');
    expect(await once(child, 'close')).toEqual([130, null]);
    expect(processesWith(state)).toEqual([]);
  });

  it('whose output nobody reads any more ends, and leaves nothing running', async () => {
    const { child, text } = up();
    await until('something runs', () => processesWith(state).length > 2 || child.exitCode !== null);
    child.stdout?.destroy();
    child.stderr?.destroy();
    await once(child, 'exit');
    expect({ code: child.exitCode, processes: processesWith(state), text }).toMatchObject({ code: 130, processes: [] });
  });

  it('killed without mercy is taken down by its guardian, and a start at once waits for that', async () => {
    const first = up();
    await until('the mesh stays', () => first.text.err.includes('Ctrl-C') || first.child.exitCode !== null, 60_000);
    first.child.kill('SIGKILL');
    await once(first.child, 'exit');
    const second = up('--once', '--json');
    const [code] = (await once(second.child, 'close')) as [number];
    expect({ code, err: code === 0 ? '' : second.text.err }).toEqual({ code: 0, err: '' });
    expect(second.text.err).toContain('ending what an earlier mesh left');
    expect(processesWith(state)).toEqual([]);
  });

  it('killed without mercy with its guardian is cleaned up after by the next start', async () => {
    const first = up();
    await until('the mesh stays', () => first.text.err.includes('Ctrl-C') || first.child.exitCode !== null, 60_000);
    for (const pid of [guardianIn(state), first.child.pid ?? 0]) process.kill(pid, 'SIGKILL');
    await once(first.child, 'close');
    expect(processesWith(state).length).toBeGreaterThan(3);
    const second = up('--once', '--json');
    const [code] = (await once(second.child, 'close')) as [number];
    expect({ code, err: code === 0 ? '' : second.text.err }).toEqual({ code: 0, err: '' });
    expect(processesWith(state)).toEqual([]);
  });
});

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGTERM');
  await once(child, 'close');
}

function guardianIn(directory: string): number {
  const processes = JSON.parse(readFileSync(join(directory, 'processes.json'), 'utf8')) as {
    name: string;
    pid: number;
  }[];
  const guardian = processes.find(({ name }) => name === 'guardian');
  if (guardian === undefined) throw new Error('there is no guardian');
  return guardian.pid;
}

interface Report {
  agents: { branch: string; commit: string; receipts: { kind: string; verified: boolean }[] }[];
  kill: { requestedAt: string; observedDeadAt: string; ms: number };
}

/** Command lines of live processes that name the state directory, or work in it. */
function processesWith(directory: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((pid) => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
        const environment = readFileSync(`/proc/${pid}/environ`, 'utf8');
        const isOurs = command.includes(directory) || environment.includes(directory);
        return isOurs && !command.includes('up --demo') ? [command] : [];
      } catch {
        return [];
      }
    });
}
