import { LocalFault, type DeathReport } from '@capstan/platform';
import { members } from '@capstan/sandbox';
import { git } from '../../../../test/support/repository.js';
import { proves } from '../../../../test/support/proves.js';
import { until } from '../../../../test/support/until.js';
import { AdoptionRoom } from '../../test/adoption-room.js';
import { TestApi } from '../../test/test-api.js';
import { keepFromDying } from '../../test/undying.js';

jest.setTimeout(120_000);

describe('an agent that does not die', () => {
  let api: TestApi;
  let room: AdoptionRoom;

  beforeAll(async () => (api = await TestApi.start()));
  afterAll(() => api[Symbol.asyncDispose]());
  beforeEach(async () => (room = await AdoptionRoom.start(api)));
  afterEach(async () => {
    jest.restoreAllMocks();
    await room[Symbol.asyncDispose]();
  });

  /** Only root enters the PID namespace of another. */
  const asRoot = process.getuid?.() === 0 ? it : it.skip;
  const stateOf = async (): Promise<string | undefined> => (await api.store.find(room.plan.agentId))?.state;
  const said = async (): Promise<string[]> =>
    (await api.monitor.page(room.plan.agentId, 0, 100)).lines.map(({ text }) => text);
  const pushed = (): string => git(room.remote, 'for-each-ref', '--format=%(refname)', 'refs/heads/capstan');

  asRoot(
    'is killed again until it is seen dead: unconfirmed so long, and nothing of it pushed; killed only then',
    proves('ORC-117', async () => {
      const { agentId } = room.plan;
      const place = await room.settleIn();
      await room.runs();
      const { claim, found } = await room.found(await room.launch());
      await room.adopted.adopt(claim, found);
      await room.work(place, 'echo mine > mine');
      await using undying = await keepFromDying(found.sandbox.handle);
      const kills: DeathReport['outcome'][] = [];
      const kill = api.reaper.kill.bind(api.reaper);
      jest.spyOn(api.reaper, 'kill').mockImplementation(async (order) => {
        const report = await kill(order);
        kills.push(report.outcome);
        return report;
      });
      // It has declared its work done: whoever took it for dead would push that.
      room.letGo();
      await until('it has submitted', async () => (await said()).includes('Submitted: Work'));
      const { status, body } = await api.call('POST', `/agents/${agentId}/kill`, { reason: 'stop' });
      expect([status, body]).toEqual([200, { outcome: 'unconfirmed', observation: '', agent: null }]);
      await until('it is killed again and again', () => kills.length >= 3);
      expect(new Set(kills)).toEqual(new Set(['unconfirmed']));
      expect(members(found.sandbox.handle)).not.toEqual([]);
      expect((await api.reaper.describe()).agents.map((agent) => agent.agentId)).toEqual([agentId]);
      expect([await stateOf(), pushed()]).toEqual(['running', '']);

      await undying[Symbol.asyncDispose]();
      await until('its death is told', async () => (await stateOf()) !== 'running');
      expect([await stateOf(), pushed(), members(found.sandbox.handle)]).toEqual(['killed', '', []]);
      expect((await api.reaper.observe(agentId, 5_000)).outcome).toBe('killed');
      await api.runs.get(agentId)?.closed;
      expect(pushed()).toBe('');
    }),
  );

  it('is finished off by our own order, where nobody else has ordered its death', async () => {
    const { agentId } = room.plan;
    await room.launch();
    expect(await room.reaping.untilGone(agentId)).toMatchObject({ outcome: 'killed', finishedOff: true });
  });

  it('is not killed only because the reaper did not answer once', async () => {
    const { agentId } = room.plan;
    await room.launch();
    const observe = jest.spyOn(api.reaper, 'observe').mockRejectedValueOnce(new LocalFault('reaper-silent', 'Silent.'));
    // What was left was seen before we had it killed.
    expect(await room.reaping.untilGone(agentId)).toMatchObject({ outcome: 'killed', finishedOff: true });
    expect(observe).toHaveBeenCalledTimes(2);
  });

  it('is not finished off by us where somebody else has ordered its death', async () => {
    const { agentId } = room.plan;
    await room.launch();
    const order = { issuer: 'hub', id: 'command', digest: Buffer.alloc(32) };
    await api.reaper.kill({ agentId, command: order, timeoutMs: 5_000 });
    expect(await room.reaping.untilGone(agentId)).toMatchObject({ outcome: 'killed', finishedOff: false });
  });

  it('is asked for no longer once the orchestrator stops', async () => {
    const kill = jest.spyOn(api.reaper, 'kill').mockRejectedValue(new LocalFault('reaper-silent', 'It is silent.'));
    const killing = room.reaping.kill(room.plan.agentId);
    const ended = expect(killing).rejects.toMatchObject({ name: 'AbortError' });
    await until('it was asked twice', () => kill.mock.calls.length >= 2);
    room.stop();
    await ended;
  });
});
