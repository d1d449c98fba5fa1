import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AuditLog } from '@capstan/evidence';
import { closeValkey, connectValkey, createLogger } from '@capstan/platform';
import type { AgentId } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { startTestValkey } from '../../../../test/support/test-valkey.js';
import { until } from '../../../../test/support/until.js';
import { ValkeyRelay } from '../../../../test/support/valkey-relay.js';
import { planFor } from '../../test/plans.js';
import { AgentStore } from '../valkey/agent.store.js';
import { Settlement } from './settlement.js';

jest.setTimeout(60_000);

describe('how an agent ended', () => {
  const stopped = new AbortController();
  const held = new AsyncDisposableStack();
  let relay: ValkeyRelay;
  let store: AgentStore;
  let audit: AuditLog;
  let settlement: Settlement;
  let errors: string[];

  beforeAll(async () => {
    const room = held.adopt(await mkdtemp(join(tmpdir(), 'capstan-settled-')), (path) => rm(path, { recursive: true }));
    const { url } = held.use(await startTestValkey());
    relay = held.use(await ValkeyRelay.start(url));
    const client = held.adopt(await connectValkey(relay.url), closeValkey);
    store = new AgentStore(client);
    audit = held.use(await AuditLog.open(join(room, 'audit.log')));
  });
  beforeEach(() => {
    errors = [];
    const logger = createLogger('test', { level: 'silent' });
    jest
      .spyOn(logger, 'error')
      .mockImplementation((entry: unknown) => void errors.push((entry as { msg: string }).msg));
    settlement = new Settlement(store, audit, logger, stopped.signal);
  });
  afterAll(async () => {
    stopped.abort();
    await held.disposeAsync();
  });

  async function running(): Promise<{ agentId: AgentId; fence: number }> {
    const plan = planFor();
    await store.create(plan, 'digest', 100);
    const claim = await store.claim(plan.agentId);
    if (claim.kind !== 'claimed') throw new Error(claim.kind);
    const { fence } = claim;
    await settlement.write(plan.agentId, { fence, state: 'running' });
    return { agentId: plan.agentId, fence };
  }

  it(
    'stands in the audit log once, also where the reply is lost or two say so',
    proves('ORC-109', async () => {
      const append = jest.spyOn(audit, 'append');
      const { agentId, fence } = await running();
      relay.loseReply();
      expect(await settlement.settle(agentId, { state: 'killed', fence })).toMatchObject({ state: 'killed' });
      expect(await settlement.settle(agentId, { state: 'killed' })).toMatchObject({ state: 'killed' });
      expect(append.mock.calls).toEqual([
        [{ kind: 'agent.settled', subject: agentId, detail: { state: 'killed', revision: 4 } }],
      ]);
      expect([relay.lost, errors]).toEqual([1, []]);
    }),
  );

  it(
    'is written once Valkey takes it again',
    proves('ORC-109', async () => {
      const { agentId, fence } = await running();
      const before = relay.refused;
      relay.refuse((args) => args.includes('completed'));
      const settled = settlement.settle(agentId, { state: 'completed', fence });
      await until('it was refused twice', () => relay.refused >= before + 2);
      relay.relent();
      expect(await settled).toMatchObject({ state: 'completed' });
    }),
  );

  it('is not passed over in silence where its state does not allow it', async () => {
    const plan = planFor();
    await store.create(plan, 'digest', 100);
    expect(await settlement.settle(plan.agentId, { state: 'completed' })).toMatchObject({ state: 'queued' });
    expect(errors).toEqual(['an agent cannot end so from its state']);
  });
});
