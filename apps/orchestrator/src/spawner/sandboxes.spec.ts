import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLogger } from '@capstan/platform';
import { until } from '../../../../test/support/until.js';
import { pathsOf } from '../config/settings.js';
import { sandboxesOf } from './sandboxes.js';

jest.setTimeout(60_000);

describe('the sandboxes of an instance', () => {
  it('log, with the agent’s id, what keeps an agent from being bounded', async () => {
    const logger = createLogger('test', { level: 'silent' });
    const warn = jest.spyOn(logger, 'warn');
    const directory = mkdtempSync(join(tmpdir(), 'capstan-sandboxes-'));
    try {
      const preparing = sandboxesOf({ docker: undefined, paths: pathsOf(directory) }, logger).prepare({
        agentId: 'agent-one',
        argv: ['/bin/true'],
        env: { PATH: '/usr/bin:/bin' },
        cwd: '/',
        uid: process.getuid?.() || 234_571,
        gid: process.getgid?.() || 234_571,
        mounts: [{ source: join(directory, 'gone'), target: '/room', mode: 'rw' }],
        limits: { diskBytes: 1 << 20 },
        network: 'none',
      });
      await expect(preparing).rejects.toMatchObject({ code: 'sandbox-failed' });
      await until('it is logged', () => warn.mock.calls.length > 0);
      const msg = expect.stringContaining('not watched') as string;
      expect(warn).toHaveBeenCalledWith({ agentId: 'agent-one', msg });
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
