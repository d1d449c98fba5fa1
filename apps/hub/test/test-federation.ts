import { startTestPostgres, type TestPostgres } from '../../../test/support/postgres.js';
import { until } from '../../../test/support/until.js';
import type { CommandView } from '../src/commands/command-view.js';
import { TestHub } from './test-hub.js';
import { type Ordered, TestSpoke } from './test-spoke.js';

/** A hub over a database of its own, and two instances, `harbor` and `quay`, linked to it. */
export class TestFederation implements AsyncDisposable {
  private constructor(
    private readonly postgres: TestPostgres,
    readonly hub: TestHub,
    /** harbor */
    readonly spoke: TestSpoke,
    /** quay */
    readonly other: TestSpoke,
  ) {}

  static async start(): Promise<TestFederation> {
    const postgres = await startTestPostgres();
    const hub = await TestHub.start(await postgres.freshDatabase());
    const spoke = await TestSpoke.connected(hub, 'harbor');
    return new TestFederation(postgres, hub, spoke, await TestSpoke.connected(hub, 'quay'));
  }

  /** A sound body of a spawn on harbor. */
  spawnBody(overrides: object = {}): object {
    return {
      instance: 'harbor',
      agentType: 'worker',
      context: { repository: '/srv/repository', workItems: ['Map it.'] },
      ...overrides,
    };
  }

  /** Orders an agent, and resolves with what the spoke was sent. */
  async spawned(overrides: object = {}): Promise<{ commandId: string; agentId: string; order: Ordered }> {
    const { status, body } = await this.hub.post<{ commandId: string; agentId: string; state: string }>(
      'agents/spawn',
      this.spawnBody(overrides),
    );
    expect(status).toBe(202);
    return { ...body, order: await this.orderOf(this.spoke, body.commandId) };
  }

  orderOf(of: TestSpoke, commandId: string): Promise<Ordered> {
    return until('the order has come', () => of.ordered.find(({ command }) => command.header?.id === commandId));
  }

  async command(id: string, waitMs?: number): Promise<CommandView> {
    const wait = waitMs === undefined ? '' : `?waitMs=${String(waitMs)}`;
    return (await this.hub.get<CommandView>(`commands/${id}${wait}`)).body;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.spoke.disconnect();
    await this.other.disconnect();
    await this.hub[Symbol.asyncDispose]();
    await this.postgres.stop();
  }
}
