import { KillOutcome } from '@capstan/protocol';
import pg from 'pg';
import { proves } from '../../../../test/support/proves.js';
import { startTestPostgres, type TestPostgres } from '../../../../test/support/postgres.js';
import { until } from '../../../../test/support/until.js';
import { TestHub } from '../../test/test-hub.js';
import { TestSpoke } from '../../test/test-spoke.js';
import { CommandStore } from '../commands/command.store.js';
import type { CommandView } from '../commands/command-view.js';

// Real servers on a machine that may be busy: the limit is for what hangs, not for what is slow.
jest.setTimeout(60_000);

let postgres: TestPostgres;

beforeAll(async () => {
  postgres = await startTestPostgres();
});
afterAll(() => postgres.stop());

test(
  'a death whose order comes to light later answers it, though it was kept without its order before',
  proves('FED-08', async () => {
    const databaseUrl = await postgres.freshDatabase();
    await using first = await TestHub.start(databaseUrl);
    const spoke = await TestSpoke.connected(first, 'harbor');
    const agentId = 'agent-1';
    const asked = await first.post<{ commandId: string }>(`agents/${agentId}/kill`, { instance: 'harbor', waitMs: 0 });
    const { commandId } = asked.body;
    const order = await until('it was ordered', () =>
      spoke.ordered.find(({ command }) => command.header?.id === commandId),
    );
    const record = first.app.get(CommandStore, { strict: false }).known(commandId);
    if (record === undefined) throw new Error('the kill is not known');
    await spoke.disconnect();
    await first.stop();
    // As for a replica whose sister was killed with the order on her own disk alone.
    const client = new pg.Client({ connectionString: databaseUrl });
    await client.connect();
    await client.query('DELETE FROM commands WHERE id = $1', [commandId]);
    await client.end();

    await using hub = await first.successor();
    const back = Object.assign(new TestSpoke(hub, 'harbor'), { key: spoke.key, reaper: spoke.reaper });
    await back.connect();
    const observation = back.observation(order, agentId, KillOutcome.KILLED);
    const proof = back.receipt(order, { case: 'killed', value: { outcome: KillOutcome.KILLED, observation } });
    for (const _again of [1, 2]) expect(await back.offer(proof, 'kill')).toEqual({ is: 'acknowledged' });

    await hub.app.get(CommandStore, { strict: false }).addKill(record, 'op-alice');
    expect((await hub.get<CommandView>(`commands/${commandId}`)).body).toMatchObject({ settledAt: null });
    expect(await back.offer(proof, 'kill')).toEqual({ is: 'acknowledged' });
    const view = (await hub.get<CommandView>(`commands/${commandId}`)).body;
    expect(view).toMatchObject({ settledAt: expect.any(String) as string, receipts: [{ kind: 'killed' }] });
    await back.disconnect();
  }),
);
