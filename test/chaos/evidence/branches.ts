import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Branch } from '../history/history.ts';

const run = promisify(execFile);

/** What agents have pushed to the remote. */
export async function readBranches(remote: string): Promise<Branch[]> {
  const git = async (...args: string[]): Promise<string> => {
    const { stdout } = await run('git', ['-c', 'safe.directory=*', '-C', remote, ...args]);
    return stdout.trim();
  };
  const names = (await git('for-each-ref', '--format=%(refname:lstrip=2)', 'refs/heads/capstan/')).split('\n');
  const pushed = names.filter((name) => name !== '');
  return Promise.all(
    pushed.map(async (name) => {
      const agentId = name.slice('capstan/'.length);
      const commits = Number(await git('rev-list', '--count', `HEAD..${name}`));
      const mark = await git('show', `${name}:${agentId}.mark`).catch(() => '');
      return { agentId, commits, processes: mark.split('\n').filter((line) => line !== '') };
    }),
  );
}
