import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * A copy of the workspace's sources with the installed packages and the build linked in; removed when disposed of.
 * Mutants live only there.
 */
export class WorkingCopy implements Disposable {
  readonly root = mkdtempSync(join(tmpdir(), 'capstan-mutants-'));

  constructor(source: string) {
    const list = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
      cwd: source,
      encoding: 'utf8',
      maxBuffer: 64 * 1024 * 1024,
    });
    for (const file of list.split('\0').filter((name) => name !== '' && existsSync(join(source, name)))) {
      cpSync(join(source, file), join(this.root, file));
    }
    for (const name of ['node_modules', 'dist']) {
      if (existsSync(join(source, name))) symlinkSync(join(source, name), join(this.root, name));
    }
  }

  [Symbol.dispose](): void {
    rmSync(this.root, { recursive: true, force: true });
  }
}
