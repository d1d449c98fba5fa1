import { createLogger } from '@capstan/platform';
import { WireFault } from '@capstan/protocol';
import { planFor } from '../../test/plans.js';
import { answeringJudge } from './answering-judge.js';
import type { Harvester } from './harvester.js';
import type { WorkPlace } from './work-place.js';

describe('what an agent is told of work that is sent back', () => {
  it('names no path of the host: not the repository, and none of those beside it', async () => {
    const detail = ['git', 'quarantine/one/pack', 'salvage/objects'].map((it) => `/srv/repositories/x.${it}`).join(' ');
    const harvester = { try: () => Promise.reject(new WireFault('harvest-refused', detail)) } as unknown as Harvester;
    const judge = answeringJudge(harvester, createLogger('test', { level: 'silent' }));
    const place = { repository: { dir: '/srv/repositories/x.git' } } as WorkPlace;
    const trial = { signal: new AbortController().signal, hold: () => undefined };
    const answer = await judge(planFor(), place, { summary: 'Done' }, trial);
    expect(answer).toMatchObject({ accepted: false, code: 'harvest-refused', mendable: true });
    expect('text' in answer ? answer.text : '').toMatch(
      /\(the repository the repository\/one\/pack the repository\/objects\)$/,
    );
  });
});
