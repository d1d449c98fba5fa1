import { execFileSync } from 'node:child_process';
import { chmodSync, closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const FILLER = 'filler';
const PAGE = 4096;

/** A file system of a few megabytes; it needs root. */
export class SmallDisk implements Disposable {
  private constructor(readonly path: string) {}

  /** @param path where it is mounted; a fresh directory unless told. */
  static mount(megabytes: number, path = mkdtempSync(join(tmpdir(), 'capstan-disk-'))): SmallDisk {
    mkdirSync(path, { recursive: true });
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${String(megabytes)}m,mode=755`, 'tmpfs', path]);
    chmodSync(path, 0o755);
    return new SmallDisk(path);
  }

  resize(megabytes: number): void {
    execFileSync('mount', ['-o', `remount,size=${String(megabytes)}m`, this.path]);
  }

  /** Leaves no room, or what is given. */
  fill(leaveBytes = 0): void {
    const { size } = roomOf(this.path);
    const file = openSync(join(this.path, FILLER), 'w');
    try {
      for (let left = size - leaveBytes; left >= PAGE;) left -= writeSync(file, Buffer.alloc(Math.min(left, 1 << 20)));
    } finally {
      closeSync(file);
    }
  }

  /** Takes away what filled it. */
  free(): void {
    rmSync(join(this.path, FILLER), { force: true });
  }

  [Symbol.dispose](): void {
    execFileSync('umount', ['--lazy', this.path]);
    rmSync(this.path, { recursive: true, force: true });
  }
}

function roomOf(path: string): { size: number } {
  const [, available = '0'] = execFileSync('df', ['--block-size=1', '--output=avail', path], { encoding: 'utf8' })
    .trim()
    .split('\n');
  return { size: Number(available) };
}
