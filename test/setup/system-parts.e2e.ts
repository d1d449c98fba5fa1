import { execFile } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { proves } from '../support/proves.js';

const run = promisify(execFile);
const MODULE = pathToFileURL(join(process.cwd(), 'scripts/setup/system-parts.mjs')).href;

/** A machine with nothing but git and setpriv on its PATH, and an apt-get that notes how it was called and "installs" what it was told. */
class BareMachine implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), 'capstan-setup-'));

  constructor(apt: string) {
    chmodSync(this.path, 0o777);
    writeFileSync(join(this.path, 'apt-get'), `#!/bin/sh\necho "$*" >> ${this.path}/calls\n${apt}\n`, { mode: 0o755 });
    for (const name of ['git', 'setpriv']) writeFileSync(join(this.path, name), '', { mode: 0o755 });
  }

  get calls(): string[] {
    try {
      return readFileSync(join(this.path, 'calls'), 'utf8').trim().split('\n');
    } catch {
      return [];
    }
  }

  async provide(
    options: { uid?: number; isAgreed?: boolean; env?: Record<string, string>; forChaos?: boolean } = {},
  ): Promise<{ missing: { name: string; command: string }[]; said: string }> {
    const also = options.forChaos === true ? '[FAKETIME]' : '[]';
    const script = `const { provideSystemParts, FAKETIME } = await import(${JSON.stringify(MODULE)});
      const options = { isAgreed: ${String(options.isAgreed ?? false)}, also: ${also} };
      console.log(JSON.stringify(await provideSystemParts(options)));`;
    const { stdout, stderr } = await run(process.execPath, ['--input-type=module', '-e', script], {
      cwd: '/',
      env: { PATH: this.path, ...options.env },
      ...(options.uid === undefined ? {} : { uid: options.uid }),
    });
    return { missing: JSON.parse(stdout) as { name: string; command: string }[], said: stderr };
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

const INSTALLS =
  'for name in "$@"; do case $name in redis-server) : > "${0%/*}/redis-server";; bubblewrap) : > "${0%/*}/bwrap";; esac; done';
const asRoot = process.getuid?.() === 0 ? it : it.skip;

describe('what the registry cannot give', () => {
  asRoot(
    'is installed by root with no terminal, and the command is shown',
    proves('OPS-01', async () => {
      using machine = new BareMachine(INSTALLS);
      const { missing, said } = await machine.provide();
      expect(missing).toEqual([]);
      expect(machine.calls).toEqual([
        'install -y --no-install-recommends redis-server',
        'install -y --no-install-recommends bubblewrap',
      ]);
      expect(said).toContain('Installing: apt-get install -y --no-install-recommends redis-server bubblewrap');
      expect(await machine.provide()).toEqual({ missing: [], said: '' });
      expect(machine.calls).toHaveLength(2);
    }),
  );

  asRoot(
    'is only named, with the command, where nobody could agree: no sudo in silence',
    proves('OPS-01', async () => {
      using machine = new BareMachine(INSTALLS);
      const { missing } = await machine.provide({ uid: 65534 });
      expect(missing).toEqual([
        { name: 'Valkey (or Redis)', command: 'sudo apt-get install -y --no-install-recommends redis-server' },
        { name: 'bubblewrap', command: 'sudo apt-get install -y --no-install-recommends bubblewrap' },
      ]);
      expect(machine.calls).toEqual([]);
    }),
  );

  asRoot('is tried again once the package lists were refreshed, and named where that does not help', async () => {
    using machine = new BareMachine('exit 100');
    const { missing } = await machine.provide();
    expect(missing.map(({ name }) => name)).toEqual(['Valkey (or Redis)', 'bubblewrap']);
    expect(machine.calls.filter((call) => call === 'update')).toHaveLength(2);
  });

  it('is asked for by chaos alone where it only moves clocks', async () => {
    using machine = new BareMachine('exit 1');
    for (const name of ['bwrap', 'redis-server']) writeFileSync(join(machine.path, name), '', { mode: 0o755 });
    expect((await machine.provide()).missing).toEqual([]);
    const { missing } = await machine.provide({ forChaos: true });
    expect(missing).toMatchObject([{ name: 'libfaketime', command: expect.stringContaining('faketime') as unknown }]);
  });

  it('needs no Valkey of its own where one is named', async () => {
    using machine = new BareMachine('exit 1');
    writeFileSync(join(machine.path, 'bwrap'), '', { mode: 0o755 });
    expect(await machine.provide({ env: { CAPSTAN_VALKEY_URL: 'redis://elsewhere' } })).toMatchObject({ missing: [] });
    expect(machine.calls).toEqual([]);
  });
});
