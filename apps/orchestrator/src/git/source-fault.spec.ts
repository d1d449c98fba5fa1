import { LocalFault, WireFault } from '@capstan/protocol';
import { GitFault } from './safe-git.js';
import { sourceFault } from './source-fault.js';

const failed = (stderr: string, reason: GitFault['reason'] = 'failed') => new GitFault('fetch', reason, 128, stderr);
const AFTER = 'fatal: Could not read from remote repository.\n\nPlease make sure you have the correct access rights';

describe('a question to a source that failed', () => {
  it.each([
    `fatal: '/srv/none.git' does not appear to be a git repository\n${AFTER}`,
    `remote: Repository not found.\nfatal: repository 'https://example.org/x.git/' not found`,
    `ERROR: Repository not found.\n${AFTER}`,
    `git@example.org: Permission denied (publickey).\n${AFTER}`,
    `Host key verification failed.\n${AFTER}`,
    "fatal: could not read Username for 'https://example.org': terminal prompts disabled",
    "fatal: unable to access 'https://example.org/x.git/': The requested URL returned error: 403",
    `fatal: detected dubious ownership in repository at '/srv/x.git'\n${AFTER}`,
  ])('is repository-missing where the source is not there or not for us: %j', (stderr) => {
    const fault = sourceFault(failed(stderr));
    expect(fault).toBeInstanceOf(WireFault);
    expect(fault.code).toBe('repository-missing');
  });

  it.each([
    ["fatal: Unable to create '/r.git/packed-refs.lock': File exists.", 'failed'],
    [
      "error: cannot lock ref 'refs/remotes/origin/main': Unable to create '/r.git/refs/x.lock': Permission denied",
      'failed',
    ],
    ["fatal: Unable to create '/r.git/objects/pack/tmp_x': No such file or directory", 'failed'],
    ['fatal: write error: No space left on device', 'failed'],
    ['fatal: bad object worktrees/agent-a-t/HEAD', 'failed'],
    ["fatal: unable to access 'https://example.org/x.git/': Could not resolve host: example.org", 'failed'],
    ["fatal: unable to access 'https://example.org/x.git/': The requested URL returned error: 502", 'failed'],
    [`ssh: connect to host example.org port 22: Connection refused\n${AFTER}`, 'failed'],
    [`fatal: '/srv/none.git' does not appear to be a git repository`, 'timeout'],
    ['', 'missing'],
  ] as const)('may pass otherwise: %j (%s)', (stderr, reason) => {
    const fault = sourceFault(failed(stderr, reason));
    expect(fault).toBeInstanceOf(LocalFault);
    expect(fault.code).toBe(String(fault.detail).includes('No space') ? 'disk-full' : 'repository-unavailable');
    expect(fault.detail).toContain(stderr);
    if (fault.code !== 'disk-full')
      expect(fault.sentence).toBe('The repository could not be brought up to date just now; the log says why.');
  });
});
