import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';
import { proves } from '../support/proves.js';

jest.setTimeout(60_000);

const run = promisify(execFile);
const TEST = join(process.cwd(), 'scripts/test.mjs');
const SUITES = join(process.cwd(), 'scripts/setup/suites.mjs');

/** What needs a part, as the text of a suite or of the test support that it imports shows. */
const SIGNS: Readonly<Record<string, RegExp>> = {
  'Valkey (or Redis)': /startTestValkey|startValkey|'valkey-server'|Mesh\.start|'up', '--demo'/,
  bubblewrap: /new BubblewrapDriver|Mesh\.start|'up', '--demo'/,
  Docker: /TestDocker\.start/,
};

describe('npm test on a machine that lacks a part', () => {
  let path: string;

  beforeEach(() => {
    path = mkdtempSync(join(tmpdir(), 'capstan-parts-'));
    symlinkSync(process.execPath, join(path, 'node'));
    for (const program of ['git', 'redis-server', 'bwrap']) writeFileSync(join(path, program), '', { mode: 0o755 });
  });
  afterEach(() => {
    rmSync(path, { recursive: true, force: true });
  });

  /** The suites that `npm test` would run there, and what it tells people; no package manager is on this PATH. */
  async function suitesWithout(program: string, env: Record<string, string> = {}): Promise<Listed> {
    rmSync(join(path, program));
    const { stdout, stderr } = await run(process.execPath, [TEST, '--listTests'], { env: { PATH: path, ...env } });
    return { suites: stdout.split('\n').map((file) => relative(process.cwd(), file)), said: stderr };
  }

  it.each([
    ['redis-server', 'Valkey (or Redis)'],
    ['bwrap', 'bubblewrap'],
  ])('without %s leaves out what needs it, says so with the command, and runs the rest', (program, part) =>
    proves('OPS-01', async () => {
      const { suites, said } = await suitesWithout(program);
      expect(said).toContain(`Skipped, because ${part} is missing: test/mesh/`);
      expect(said).toContain('to provide it: ');
      const needing = allSuites().filter((file) => textsOf(file).some((text) => SIGNS[part]?.test(text)));
      expect(needing.length).toBeGreaterThan(5);
      expect(suites.filter((file) => needing.includes(file))).toEqual([]);
      expect(suites).toContain('libs/protocol/src/wire-fault.spec.ts');
    })(),
  );

  it('without Docker would leave out what starts one: it lies where administrators’ programs are, on no PATH of ours', async () => {
    const script = `const { leaveOut, suitesWithout } = await import(${JSON.stringify(SUITES)});
      console.log(JSON.stringify(leaveOut(suitesWithout([{ name: 'Docker', command: '' }]).skipped)));`;
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script]);
    const patterns = (JSON.parse(stdout) as string[]).map((argument) => new RegExp(argument.replace(/^[^=]*=/, '')));
    const needing = allSuites().filter((file) => textsOf(file).some((text) => text?.includes('TestDocker.start')));
    expect(needing.length).toBeGreaterThan(2);
    for (const file of needing) expect(patterns.some((pattern) => pattern.test(join(process.cwd(), file)))).toBe(true);
  });

  it('fails in CI instead', async () => {
    await expect(suitesWithout('bwrap', { CI: '1' })).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining('bubblewrap: ') as string,
    });
  });

  it('fails without git, which everything needs', async () => {
    await expect(suitesWithout('git')).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining('git: ') as string,
    });
  });
});

interface Listed {
  suites: string[];
  said: string;
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
