import { createLogger } from '@capstan/platform';
import { git } from '../../../../test/support/repository.js';
import { proves } from '../../../../test/support/proves.js';
import { until } from '../../../../test/support/until.js';
import { AdoptionRoom } from '../../test/adoption-room.js';
import { TestApi } from '../../test/test-api.js';
import { InstanceFiles } from '../config/instance-files.js';
import { Sweep, type SweepParts } from '../queue/sweep.js';
import { TRIAL_BYTES, type WorkPlace } from './work-place.js';

jest.setTimeout(120_000);

const logger = createLogger('test', { level: 'silent' });

describe('an agent that is adopted', () => {
  let api: TestApi;
  let room: AdoptionRoom;
  let place: WorkPlace;

  beforeAll(async () => (api = await TestApi.start()));
  afterAll(() => api[Symbol.asyncDispose]());
  beforeEach(async () => {
    room = await AdoptionRoom.start(api);
    place = await room.settleIn();
  });
  afterEach(() => room[Symbol.asyncDispose]());

  const adopt = async (): Promise<void> => {
    await room.runs();
    const { claim, found } = await room.found(await room.launch());
    await room.adopted.adopt(claim, found);
  };

  it(
    "takes one of the owner's places until its job has come back, which then ends as it does",
    proves(['ORC-108', 'ORC-109'], async () => {
      const given: number[][] = [];
      const worker = { setConcurrency: (...figures: number[]) => given.push(figures) };
      const parts = { adopted: room.adopted, worker, files: new InstanceFiles(api.instance.paths), queue: api.queue };
      const sweep = new Sweep({ ...parts, logger } as Partial<SweepParts> as SweepParts);
      room.adopted.onFewerJobless = () => void sweep.freePlaces();
      await adopt();
      await sweep.applyLimits();
      expect(given).toEqual([[4, 1]]);
      const job = room.adopted.takeJob(room.plan.agentId);
      await until('its job takes the place', () => given.length > 1 || undefined);
      expect(given).toEqual([
        [4, 1],
        [4, 0],
      ]);
      await room.work(place, 'echo mine > mine');
      room.letGo();
      expect(await job).toEqual({ kind: 'completed' });
      expect(room.adopted.takeJob(room.plan.agentId)).toBeUndefined();
      expect(await api.store.find(room.plan.agentId)).toMatchObject({
        state: 'completed',
        harvest: { files: ['mine'] },
      });
    }),
  );

  it(
    'is judged by what was noted in its former life: at its next submission, and at its end',
    proves(['ORC-109', 'ORC-112'], async () => {
      const upstream = (title: string): string => {
        const commit = room.source.commit(title, { 'README.md': `# ${title}\n` });
        git(room.source.path, 'push', '-q', room.remote, 'HEAD:main');
        return commit;
      };
      const title = (text: string) => room.work(place, `printf '# ${text}' > README.md`);
      const first = upstream('Another title');
      await title('Mine');
      let onto: string;
      {
        await using _life = await room.firstLife(place);
        expect(await room.submit(place.session)).toMatchObject({ code: 'merge-conflict', onto: first });
        onto = upstream('A third title');
        await title('Another title, and mine');
        expect(await room.submit(place.session, { onto: first })).toMatchObject({ code: 'merge-conflict', onto });
        const { stand, submissions, earlierTrees } = await room.record();
        expect([stand, submissions, Object.keys(earlierTrees ?? {})]).toEqual([{}, 2, [first, onto]]);
        await title('A third title, and mine');
        expect(await room.submit(place.session, { onto, by: 'merge' })).toEqual({ accepted: true });
      }
      expect(await room.record()).toMatchObject({ stand: { onto, by: 'merge' }, submissions: 3 });
      expect(await room.record()).not.toHaveProperty('refused');
      await adopt();
      room.letGo();
      expect(await room.adopted.takeJob(room.plan.agentId)).toEqual({ kind: 'completed' });
      const { commit = '' } = (await api.store.find(room.plan.agentId))?.harvest ?? {};
      const [parent, own = ''] = git(room.remote, 'log', '-1', '--format=%P', commit).split(' ');
      expect(parent).toBe(onto);
      expect(git(room.remote, 'show', `${own}:README.md`)).toBe('# Another title, and mine');
    }),
  );

  it(
    'has submitted as often, and as much, as in its former life',
    proves('ORC-109', async () => {
      await room.work(place, 'echo mine > mine');
      {
        await using _life = await room.firstLife(place);
        expect(await room.submit(place.session)).toEqual({ accepted: true });
      }
      const { submissions, trialBytes = 0 } = await room.record();
      expect([submissions, trialBytes > 0]).toEqual([1, true]);
      await room.sessions.amend(room.plan.agentId, { submissions: 29, trialBytes: TRIAL_BYTES });
      await adopt();
      expect(await room.submit(place.session)).toMatchObject({
        code: 'harvest-refused',
        text: expect.stringContaining('too much was submitted on trial'),
      });
      expect(await room.submit(place.session)).toMatchObject({ text: 'there were too many submissions' });
      expect(await room.record()).toMatchObject({ submissions: 30, trialBytes: TRIAL_BYTES });
    }),
  );

  it(
    'gives its place back, and its run, also where its log cannot be closed and its job has not come back',
    proves('ORC-109', async () => {
      const jobless: number[] = [];
      room.adopted.onFewerJobless = () => jobless.push(room.adopted.jobless);
      await adopt();
      const run = api.runs.get(room.plan.agentId);
      const end = jest.spyOn(api.monitor, 'end').mockRejectedValueOnce(new Error('the disk is gone'));
      room.letGo();
      await run?.closed;
      expect([jobless, api.runs.get(room.plan.agentId)]).toEqual([[0], undefined]);
      end.mockRestore();
      await api.monitor.end(room.plan.agentId);
    }),
  );

  it(
    'fails for the reason for which its work was sent back in its former life, where it gives up',
    proves('ORC-109', async () => {
      await room.work(place, `printf '# Mine' > README.md`);
      room.source.commit('Another title', { 'README.md': '# Another title\n' });
      git(room.source.path, 'push', '-q', room.remote, 'HEAD:main');
      {
        await using _life = await room.firstLife(place);
        expect(await room.submit(place.session)).toMatchObject({ code: 'merge-conflict' });
      }
      await adopt();
      const job = room.adopted.takeJob(room.plan.agentId);
      room.letGo('');
      expect(await job).toEqual({ kind: 'failed', code: 'merge-conflict' });
    }),
  );

  it('is not written to where it is a program that reads nothing', async () => {
    await room.sessions.amend(room.plan.agentId, { program: 'command' });
    await adopt();
    const inbox = api.runs.get(room.plan.agentId)?.inbox;
    expect(() => inbox?.add({ messageId: 'm', text: 'x' })).toThrow();
  });
});
