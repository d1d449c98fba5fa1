import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const MODULES = 20;

/** A small repository with one commit, in a temporary directory that goes with it. */
export function makeRepository(): Disposable & { path: string } {
  const path = mkdtempSync(join(tmpdir(), 'capstan-bench-repository-'));
  const git = (...args: string[]) => execFileSync('git', ['-C', path, ...args], { stdio: 'ignore' });
  git('init', '--initial-branch', 'main');
  for (let i = 0; i < MODULES; i += 1) {
    mkdirSync(join(path, `module-${String(i)}`));
    writeFileSync(join(path, `module-${String(i)}`, 'index.ts'), `export const module = ${String(i)};\n`.repeat(50));
  }
  git('add', '.');
  git('-c', 'user.name=Bench', '-c', 'user.email=bench@localhost', 'commit', '--message', 'Twenty modules');
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true }) };
}
