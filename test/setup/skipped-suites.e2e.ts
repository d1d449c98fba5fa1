import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';
import { proves } from '../support/proves.js';

jest.setTimeout(60_000);

const run = promisify(execFile);
const TEST = join(process.cwd(), 'scripts/test.mjs');
const CONFIG = join(process.cwd(), 'jest.config.mjs');
const EVERY_PROJECT = ['--selectProjects', 'unit', 'mesh', 'long'];

/** What needs a part, as the text of a suite or of the test support that it imports shows. */
const SIGNS: Readonly<Record<string, RegExp>> = {
  'Valkey (or Redis)': /startTestValkey|startValkey|'valkey-server'|Mesh\.start|'up', '--demo'/,
  bubblewrap: /new BubblewrapDriver|Mesh\.start|'up', '--demo'/,
  Docker: /TestDocker\.start/,
  'OpenSSH server': /SshServer\.start/,
};

/** Those that import what would start the part, and ask for another way of it. */
const SPARED: Readonly<Record<string, string[]>> = {
  'OpenSSH server': ['apps/orchestrator/src/spawner/docker/hard-repositories.spec.ts'],
};

/** Empties the places of administrators' programs, which are looked at beside the PATH, for what it then runs. */
const WITHOUT_PLACES = `for place in /usr/local/sbin /usr/sbin /sbin; do
  if [ -d $place ] && ! [ -L $place ]; then mount -t tmpfs none $place || exit 99; fi
done
PATH=$LATER_PATH; unset LATER_PATH; exec "$@"`;
const UNSHARE = ['--mount', ...(process.getuid?.() === 0 ? [] : ['--user', '--map-root-user'])];

describe('npm test on a machine that lacks a part', () => {
  let path: string;

  beforeEach(() => {
    path = mkdtempSync(join(tmpdir(), 'capstan-parts-'));
    symlinkSync(process.execPath, join(path, 'node'));
    for (const program of ['git', 'setpriv', 'redis-server', 'bwrap', 'sshd', 'dockerd'])
      writeFileSync(join(path, program), '', { mode: 0o755 });
  });
  afterEach(() => {
    rmSync(path, { recursive: true, force: true });
  });

  /** The suites that `npm test` would run there, and what it tells people; no package manager is on this PATH. */
  async function suitesWithout(
    program: string,
    given: string[] = [],
    env: Record<string, string> = {},
  ): Promise<{ suites: string[]; said: string }> {
    rmSync(join(path, program));
    const command = [...UNSHARE, 'sh', '-c', WITHOUT_PLACES, 'sh', process.execPath, TEST, '--listTests', ...given];
    const { stdout, stderr } = await run('unshare', command, {
      env: { PATH: process.env['PATH'] ?? '', LATER_PATH: path, ...env },
    });
    return { suites: stdout.split('\n').map((file) => relative(process.cwd(), file)), said: stderr };
  }

  it.each([
    ['redis-server', 'Valkey (or Redis)', 5],
    ['bwrap', 'bubblewrap', 5],
    ['dockerd', 'Docker', 2],
    ['sshd', 'OpenSSH server', 0],
  ])('without %s leaves out what needs it, says so with the command, and runs the rest', (program, part, more) =>
    proves('OPS-01', async () => {
      const { suites, said } = await suitesWithout(program, EVERY_PROJECT);
      expect(said).toContain(`Skipped, because ${part} is missing: `);
      expect(said).toContain('to provide it: ');
      const needing = allSuites()
        .filter((file) => textsOf(file).some((text) => SIGNS[part]?.test(text)))
        .filter((file) => SPARED[part]?.includes(file) !== true);
      expect(needing.length).toBeGreaterThan(more);
      expect(suites.filter((file) => needing.includes(file))).toEqual([]);
      expect(suites).toEqual(expect.arrayContaining(['libs/protocol/src/wire-fault.spec.ts']));
      expect(suites).toEqual(expect.arrayContaining(['apps/hub/src/audit/audit.spec.ts']));
    })(),
  );

  // Once it ran them all, for an hour: what was left out took the place of what is left out anyway.
  it('runs no long suite beside what npm test runs everywhere', async () => {
    const { suites } = await suitesWithout('sshd');
    const long = await longSuites();
    expect(long).toContain('apps/hub/src/audit/audit.spec.ts');
    expect(suites.filter((file) => long.includes(file))).toEqual([]);
    expect(suites).toContain('libs/protocol/src/wire-fault.spec.ts');
  });

  it.each([
    ['redis-server', 'Valkey (or Redis)'],
    ['bwrap', 'bubblewrap'],
    ['dockerd', 'Docker'],
    ['sshd', 'OpenSSH server'],
  ])('fails in CI instead, without %s', async (program, part) => {
    await expect(suitesWithout(program, [], { CI: '1' })).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining(`${part}: `) as string,
    });
  });

  it('fails without git, which everything needs', async () => {
    await expect(suitesWithout('git')).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining('git: ') as string,
    });
  });
});

/** As jest is told of them. */
async function longSuites(): Promise<string[]> {
  const script = `const { default: { projects } } = await import(${JSON.stringify(CONFIG)});
    console.log(JSON.stringify(projects.find(({ displayName }) => displayName === 'long').testMatch));`;
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script]);
  return (JSON.parse(stdout) as string[]).map((file) => file.replace('<rootDir>/', ''));
}

function allSuites(): string[] {
  return ['apps', 'libs', 'test'].flatMap((room) =>
    readdirSync(room, { recursive: true, encoding: 'utf8' })
      .filter((file) => /\.(spec|e2e)\.ts$/.test(file) && !file.includes('node_modules'))
      .map((file) => join(room, file))
      .filter((file) => !file.startsWith('test/setup/')),
  );
}

/** The suite and, however deep, what it imports from the rooms' and the workspace's test support. */
function textsOf(file: string, seen = new Set<string>()): string[] {
  if (seen.has(file) || !existsSync(file)) return [];
  seen.add(file);
  const text = readFileSync(file, 'utf8');
  const imported = [...text.matchAll(/from '(\.{1,2}\/[^']+)\.js'/g)].map((found) =>
    join(dirname(file), `${found[1] ?? ''}.ts`),
  );
  return [
    text,
    ...imported.filter((name) => /(^|\/)test\/|contract/.test(name)).flatMap((name) => textsOf(name, seen)),
  ];
}
