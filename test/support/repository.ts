import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/** Runs git in `cwd` as a fixed author and without any configuration of the machine. @returns its output, trimmed. */
export function git(cwd: string, ...args: string[]): string {
  const env = {
    PATH: process.env['PATH'],
    GIT_CONFIG_NOSYSTEM: '1',
    // `git status` would refresh the index, and so write to what a test only looks at.
    GIT_OPTIONAL_LOCKS: '0',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_AUTHOR_NAME: 'Ada',
    GIT_AUTHOR_EMAIL: 'ada@example.org',
    GIT_COMMITTER_NAME: 'Ada',
    GIT_COMMITTER_EMAIL: 'ada@example.org',
  };
  return execFileSync('git', ['-c', 'safe.directory=*', '-c', 'core.quotePath=false', ...args], {
    cwd,
    env,
    encoding: 'utf8',
  }).trim();
}

/** A checkout with one commit in a temporary directory; gone at the end of its scope. */
export class TestRepository implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), 'capstan-repository-'));

  constructor(files: Readonly<Record<string, string>> = { 'README.md': '# Example\n' }) {
    git(this.path, 'init', '--quiet', '--initial-branch=main');
    this.commit('Begin', files);
  }

  /** Writes files (path → content) and commits them. @returns the commit. */
  commit(message: string, files: Readonly<Record<string, string>>): string {
    for (const [name, content] of Object.entries(files)) {
      const file = join(this.path, name);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, content);
    }
    git(this.path, 'add', '--all');
    git(this.path, 'commit', '--quiet', '--message', message);
    return git(this.path, 'rev-parse', 'HEAD');
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
