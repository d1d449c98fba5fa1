import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

jest.setTimeout(60_000);

const JEST = join(process.cwd(), 'node_modules/jest/bin/jest.js');
const REPORTER = join(process.cwd(), 'scripts/proofs/reporter.ts');

describe('a run of the tests in which some are skipped', () => {
  let room: string;
  beforeEach(() => {
    room = mkdtempSync(join(tmpdir(), 'capstan-skips-'));
    write('package.json', '{}');
    write('one.spec.ts', "it('runs', () => undefined);");
  });
  afterEach(() => {
    rmSync(room, { recursive: true });
  });

  function write(file: string, text: string): void {
    mkdirSync(dirname(join(room, file)), { recursive: true });
    writeFileSync(join(room, file), text);
  }

  /** How it ends, and what it prints. */
  async function outcome(env: Record<string, string>, ...given: string[]): Promise<{ code: number; lines: string[] }> {
    const config = { testMatch: ['**/*.spec.ts'], transform: {} };
    const args = [JEST, '--config', JSON.stringify(config), '--rootDir', room, `--reporters=${REPORTER}`, ...given];
    const options = {
      cwd: room,
      env: { PATH: process.env['PATH'] ?? '', CAPSTAN_PROOFS: join(room, 'proofs'), ...env },
    };
    const { code, stdout } = await promisify(execFile)(process.execPath, args, options).then(
      (ended) => ({ ...ended, code: 0 }),
      (error: unknown) => error as { code: number; stdout: string },
    );
    return { code, lines: stdout.trim().split('\n') };
  }

  it('fails in CI, and names them; elsewhere, and where tests were chosen by name, it does not', async () => {
    write('two.spec.ts', "it.skip('runs nowhere', () => undefined);\nit.todo('is to be written');");
    const { code, lines } = await outcome({ CI: '1' });
    expect([code, lines.at(-1)]).toEqual([1, '1 passed, 0 failed, 2 skipped']);
    expect(lines).toContain('Skipped, which fails the run: see scripts/proofs/skips.ts: two.spec.ts “runs nowhere”');
    expect(await outcome({})).toEqual({ code: 0, lines: ['1 passed, 0 failed, 2 skipped'] });
    expect(await outcome({ CI: '1' }, '--testNamePattern', '^runs$')).toMatchObject({ code: 0 });
  });

  it('passes in CI where the machine is known to lack what they need, and says what', async () => {
    const name = 'is CLOCK_BOOTTIME, not the monotonic clock';
    write(
      'libs/sandbox/src/kill/boot-time.spec.ts',
      `describe('the time since boot', () => it.skip('${name}', () => undefined));`,
    );
    const { code, lines } = await outcome({ CI: '1' });
    expect([code, lines.at(-1)]).toEqual([0, '1 passed, 0 failed, 1 skipped']);
    expect(lines.at(0)).toContain('for want of time namespaces: libs/sandbox/src/kill/boot-time.spec.ts');
  });

  it('says nothing of them where there are none', async () => {
    expect(await outcome({ CI: '1' })).toEqual({ code: 0, lines: ['1 passed, 0 failed'] });
  });
});
