import { startTestPostgres, type TestPostgres } from '../../../test/support/postgres.js';
import { startTestValkey, type TestValkey } from '../../../test/support/test-valkey.js';
import { until } from '../../../test/support/until.js';
import { NO_TLS } from '../src/tls/tls-settings.js';
import { TestHub } from './test-hub.js';
import { type Ordered, TestSpoke } from './test-spoke.js';

/** Two replicas of a hub over one database and one Valkey; `harbor` is linked to the second. */
export class TestReplicas implements AsyncDisposable {
  private constructor(
    readonly postgres: TestPostgres,
    readonly valkey: TestValkey,
    readonly first: TestHub,
    readonly second: TestHub,
    readonly spoke: TestSpoke,
    private readonly parts: AsyncDisposableStack,
  ) {}

  static async start(): Promise<TestReplicas> {
    await using parts = new AsyncDisposableStack();
    const postgres = parts.use(await startTestPostgres());
    const valkey = parts.use(await startTestValkey());
    const database = await postgres.freshDatabase();
    const first = parts.use(await TestHub.start(database, undefined, NO_TLS, undefined, valkey.url));
    const second = parts.use(await TestHub.start(database, first.stateDirectory, NO_TLS, undefined, valkey.url));
    const spoke = parts.use(await TestSpoke.connected(second, 'harbor'));
    const replicas = new TestReplicas(postgres, valkey, first, second, spoke, parts.move());
    await replicas.known(first, 'harbor');
    return replicas;
  }

  /** Another replica; whoever asks for it ends it. */
  replica(): Promise<TestHub> {
    const { databaseUrl, stateDirectory } = this.first;
    return TestHub.start(databaseUrl, stateDirectory, NO_TLS, undefined, this.valkey.url);
  }

  /** Resolves once a replica sees the instance active and online. */
  async known(hub: TestHub, instance: string): Promise<string> {
    return until(`${instance} is known`, async () => {
      const { body } = await hub.get<{ id: string; instanceId: string; online: boolean }[]>('connections');
      return body.find(({ instanceId, online }) => instanceId === instance && online)?.id;
    });
  }

  /** Orders an agent on harbor. */
  async spawn(hub: TestHub): Promise<{ commandId: string; agentId: string }> {
    const context = { repository: '/srv/repository', workItems: ['Map it.'] };
    const body = { instance: 'harbor', agentType: 'worker', context };
    const reply = await hub.post<{ commandId: string; agentId: string }>('agents/spawn', body);
    if (reply.status !== 202) throw new Error(`a spawn answered ${JSON.stringify(reply.body)}`);
    return reply.body;
  }

  orderOf(commandId: string, spoke = this.spoke): Promise<Ordered> {
    return until('the order has come', () => spoke.ordered.find(({ command }) => command.header?.id === commandId));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.parts.disposeAsync();
  }
}
