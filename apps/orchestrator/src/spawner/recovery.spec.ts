import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLogger } from '@capstan/platform';
import { agentId } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { AgentRuns } from './agent-run.js';
import { Orphans, type OrphanParts } from './orphans.js';
import { Recovery, type RecoveryParts } from './recovery.service.js';

const logger = createLogger('test', { level: 'silent' });

describe('the start after a crash', () => {
  let repositories: string;
  beforeEach(() => (repositories = mkdtempSync(join(tmpdir(), 'capstan-repositories-'))));
  afterEach(() => rmSync(repositories, { recursive: true }));

  it(
    'removes what harvests held before it adopts anybody, and nothing of what an adopted agent submits at once',
    proves('ORC-109', async () => {
      const gone = ['x.quarantine', 'x.salvage.7a0e5b3c-1111-4222-8333-444455556666'];
      for (const name of [...gone, 'x.salvage']) mkdirSync(join(repositories, name, 'old'), { recursive: true });
      const held = join(repositories, 'x.quarantine', 'submitted');
      const runs = new AgentRuns();
      const orphans = new Orphans({
        runs,
        repositories,
        logger,
        reaping: { registered: async () => [] },
        sessions: {
          recallAll: async () => [],
          reserve: () => undefined,
          removeUnknown: async () => ({ removed: [], kept: [] }),
        },
        driver: { agentsFound: async () => ({ agents: [], faults: [] }) },
      } as unknown as OrphanParts);
      let seen: string[] = [];
      const attempt = async (): Promise<boolean> => {
        seen = readdirSync(repositories);
        mkdirSync(held, { recursive: true });
        return true;
      };
      const store = { startedAgents: async () => [agentId('one')], untidy: async () => [] };
      await new Recovery({
        runs,
        store,
        orphans,
        adoption: { attempt },
        logger,
      } as unknown as RecoveryParts).recoverAtStart();
      expect(seen).toEqual(['x.salvage']);
      expect(existsSync(held)).toBe(true);
    }),
  );
});
