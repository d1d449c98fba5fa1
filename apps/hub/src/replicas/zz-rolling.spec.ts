import { AgentState, newId } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { until } from '../../../../test/support/until.js';
import type { TestHub } from '../../test/test-hub.js';
import { TestReplicas } from '../../test/test-replicas.js';
import { type Ordered, snapshot, type TestSpoke } from '../../test/test-spoke.js';
import type { CommandView } from '../commands/command-view.js';

// Real servers on a machine that may be busy: the limit is for what hangs, not for what is slow.
jest.setTimeout(180_000);

interface Accepted {
  commandId: string;
  agentId: string;
}

/** Orders agents without a pause, each at the next replica; where one is down the order goes to the one after it. */
class Load {
  readonly accepted: Accepted[] = [];
  private readonly running: Promise<void>;
  private isOver = false;

  constructor(private readonly replicas: readonly TestHub[]) {
    this.running = this.run();
  }

  /** Resolves once so many more were accepted. */
  async more(count: number): Promise<void> {
    const wanted = this.accepted.length + count;
    await until(`${String(count)} more are accepted`, () => this.accepted.length >= wanted, 60_000);
  }

  async end(): Promise<readonly Accepted[]> {
    this.isOver = true;
    await this.running;
    return this.accepted;
  }

  private async run(): Promise<void> {
    const context = { repository: '/srv/repository', workItems: ['Map it.'] };
    for (let turn = 0; !this.isOver; turn++) {
      const order = { instance: 'harbor', agentType: 'worker', agentId: newId(), context };
      const hub = this.replicas[turn % this.replicas.length];
      const reply = await hub?.post<Accepted>('agents/spawn', order).catch(() => undefined);
      if (reply?.status === 202) this.accepted.push(reply.body);
    }
  }
}

/** Takes each command once, however often it comes, and repeats its receipt until it is acknowledged. */
function keepsLedger(spoke: TestSpoke): ReadonlyMap<string, string> {
  const effects = new Map<string, string>();
  const answers = new Map<string, ReturnType<TestSpoke['receipt']>>();
  spoke.onOrder = (order: Ordered) => {
    const { header, body } = order.command;
    if (header === undefined || body.case !== 'spawn') return;
    const value = snapshot(body.value.agentId, AgentState.QUEUED, 1n);
    const answer = answers.get(header.id) ?? spoke.receipt(order, { case: 'spawned', value });
    effects.set(header.id, body.value.agentId);
    answers.set(header.id, answer);
    void spoke.offer(answer).catch(() => undefined);
  };
  return effects;
}

test.each(Array.from({ length: 16 }, (_, i) => String(i)))(
  '%s a rolling restart of every replica under load loses no command that was accepted, and none is answered twice',
  proves('FED-19', async () => {
    await using replicas = await TestReplicas.start();
    const { first, second, spoke } = replicas;
    await using third = await replicas.replica();
    const effects = keepsLedger(spoke);
    await spoke.disconnect();
    spoke.replicas = [third, first];
    await spoke.connect(spoke.key, undefined, second);
    const load = new Load([first, second, third]);
    await load.more(10);

    // The replica that holds the link goes, then another; each serves until what it was asked is answered.
    const link = spoke.link;
    await second.stop();
    await until('the spoke has moved', () => spoke.link !== link && spoke.link !== undefined);
    await load.more(10);
    await first.stop();
    await load.more(5);
    await using fourth = await replicas.replica();
    const accepted = await load.end();

    for (const { commandId, agentId } of accepted) {
      const view = await until('each is answered', async () => {
        const { body } = await fourth.get<CommandView>(`commands/${commandId}?waitMs=1000`);
        return body.receipts.length > 0 && body;
      });
      expect(view).toMatchObject({ state: 'DELIVERED', agentId });
      expect(view.receipts.map(({ kind }) => kind)).toEqual(['spawned']);
      expect(effects.get(commandId)).toBe(agentId);
    }
  }),
);
