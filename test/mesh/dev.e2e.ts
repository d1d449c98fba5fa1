import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HubClient, loadContext } from '@capstan/localmesh';
import { proves } from '../support/proves.js';
import { TestRepository } from '../support/repository.js';
import { until } from '../support/until.js';

jest.setTimeout(300_000);

const COPIED = ['apps', 'libs', 'scripts', 'dist', 'package.json', 'nest-cli.json', 'tsconfig.json'];
const LONG_MS = 90_000;

describe('npm run dev:orchestrator', () => {
  let place: string;
  let checkout: string;
  let state: string;
  let repository: TestRepository;
  let child: ChildProcess | undefined;
  let said = '';

  beforeEach(() => {
    repository = new TestRepository({ 'README.md': '# Example\n' });
    place = mkdtempSync(join(tmpdir(), 'capstan-dev-'));
    chmodSync(place, 0o711);
    [checkout, state] = [join(place, 'checkout'), join(place, 'state')];
    for (const name of COPIED) cpSync(join(process.cwd(), name), join(checkout, name), { recursive: true });
    symlinkSync(join(process.cwd(), 'node_modules'), join(checkout, 'node_modules'));
  });
  afterEach(async () => {
    // What a failed expectation has left.
    if (child?.exitCode === null) {
      child.kill('SIGTERM');
      await once(child, 'close');
    }
    rmSync(place, { recursive: true, force: true });
    repository[Symbol.dispose]();
  });

  const log = (): string => readFileSync(join(state, 'logs', 'quay-orchestrator.log'), 'utf8');
  /** Puts a line before the one that begins so. */
  const change = (source: string, before: string, text: string): void => {
    const file = join(checkout, source);
    const lines = readFileSync(file, 'utf8').split('\n');
    const at = lines.findIndex((line) => line.startsWith(before));
    expect({ source, before, isThere: at >= 0 }).toEqual({ source, before, isThere: true });
    writeFileSync(file, lines.toSpliced(at, 0, text).join('\n'));
  };
  const changeOrchestrator = (text: string): void =>
    change('apps/orchestrator/src/main.ts', '  const settings =', text);
  const printedByNextAgent = async (): Promise<string[]> => {
    const { hubUrl, tokenFile } = await loadContext(join(state, 'context.json'));
    const client = new HubClient(hubUrl, readFileSync(tokenFile, 'utf8').trim());
    const [remote = ''] = readdirSync(join(state, 'remotes'));
    const { agentId } = await client.spawn({
      instance: 'quay',
      agentType: 'worker',
      context: { repository: join(state, 'remotes', remote), workItems: ['Map this repository.'] },
      options: { playbook: 'repository-map' },
    });
    const hasEnded = async (): Promise<boolean> => {
      const agent = await client.agent(agentId).catch(() => undefined);
      return agent !== undefined && ['completed', 'failed', 'killed'].includes(agent.state);
    };
    await until(`agent ${agentId} has ended`, hasEnded, LONG_MS);
    return (await client.logs(agentId)).lines.map(({ text }) => text);
  };
  const orchestrators = (): number[] =>
    (JSON.parse(readFileSync(join(state, 'processes.json'), 'utf8')) as { name: string; pid: number }[])
      .filter(({ name }) => name === 'quay/orchestrator')
      .map(({ pid }) => pid);

  it(
    'runs what was changed, keeps what runs where that cannot be built, and leaves nothing behind',
    proves('ORC-104', async () => {
      const { scripts } = JSON.parse(readFileSync('package.json', 'utf8')) as { scripts: Record<string, string> };
      const args = (scripts['dev:orchestrator'] ?? '').replace(/^node scripts\/dev\.mjs /, '').split(' ');
      expect(args).toEqual(['--app', 'orchestrator']);
      child = spawn(
        process.execPath,
        // As scripts/dev.mjs does, which would install and build for the checkout's own node_modules first.
        [
          '--import',
          './scripts/built-libraries.ts',
          'scripts/dev/main.ts',
          ...args,
          '--state',
          state,
          '--port',
          '0',
          '--repo',
          repository.path,
        ],
        { cwd: checkout, stdio: ['ignore', 'pipe', 'pipe'] },
      );
      for (const stream of [child.stdout, child.stderr])
        stream?.setEncoding('utf8').on('data', (part: string) => (said += part));
      const says = (words: string): Promise<boolean> =>
        until(
          words,
          () => {
            if (child?.exitCode !== null) throw new Error(said);
            return said.includes(words);
          },
          LONG_MS,
        );
      await says('Watching orchestrator');
      const before = orchestrators();

      changeOrchestrator("  logger.info({ msg: 'this line is new' });");
      await says('orchestrator: built and running');
      expect(log()).toContain('this line is new');
      const after = orchestrators();
      expect([before.length, after.length]).toEqual([1, 1]);
      expect(after).not.toEqual(before);

      change('apps/agent/src/main.ts', 'const RUN =', "process.stderr.write('this agent is new\\n');");
      await says('agent: built for the next spawn');
      expect(orchestrators()).toEqual(after);
      expect(await printedByNextAgent()).toContain('this agent is new');

      changeOrchestrator('  const = ;');
      await says('The build has failed; what runs goes on.');
      expect(orchestrators()).toEqual(after);

      child.kill('SIGINT');
      const [code] = (await once(child, 'close')) as [number | null];
      expect({ code, said: code === 0 ? '' : said }).toEqual({ code: 0, said: '' });
      expect(processesWith(place)).toEqual([]);
    }),
  );
});

/** Command lines of the processes that have this path in their arguments or their environment. */
function processesWith(path: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((pid) => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
        const environment = readFileSync(`/proc/${pid}/environ`, 'utf8');
        return command.includes(path) || environment.includes(path) ? [command] : [];
      } catch {
        return [];
      }
    });
}
