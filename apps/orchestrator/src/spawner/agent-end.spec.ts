import { endOfAgent, type EndFacts } from './agent-end.js';

function facts(over: Partial<EndFacts> = {}): EndFacts {
  return { outcome: 'already-gone', intent: undefined, exitCode: 0, submitted: undefined, reason: undefined, ...over };
}

const FULL: EndFacts['overDisk'] = {
  use: { bytes: 12 << 20, entries: 70 },
  bound: { bytes: 10 << 20, entries: 1000 },
};

describe('the end of an agent', () => {
  it('is its work, where it submitted and ended well', () => {
    expect(endOfAgent(facts({ submitted: 'done' }))).toEqual({ kind: 'submitted', summary: 'done' });
  });

  it.each([
    ['it ended well without submitting', {}, 'agent-no-submit'],
    ['it crashed', { exitCode: 1 }, 'agent-crashed'],
    ['it used up its memory', { exitCode: 137, outOfMemory: true }, 'agent-memory'],
    ['a part of it used up the memory, and it ended well', { outOfMemory: true }, 'agent-no-submit'],
    ['it filled the disk', { exitCode: null, overDisk: FULL, reason: 'agent-budget' }, 'agent-disk'],
    [
      'it filled the disk, and the reaper had to finish it off',
      { outcome: 'killed', finishedOff: true, exitCode: 137, overDisk: FULL },
      'agent-disk',
    ],
    ['it filled the disk, and had ended well before anybody acted', { overDisk: FULL }, 'agent-no-submit'],
    ['it was ended by a signal', { exitCode: null }, 'agent-crashed'],
    ['it crashed after it had submitted', { exitCode: 1, submitted: 'done' }, 'agent-crashed'],
    ['it used its iterations', { exitCode: 3, reason: 'agent-iterations' }, 'agent-iterations'],
    ['the model was away', { exitCode: 1, reason: 'model-unavailable' }, 'model-unavailable'],
    ['it gives a reason that is not its own to give', { exitCode: 1, reason: 'push-rejected' }, 'agent-crashed'],
    [
      'its time was up',
      { outcome: 'killed', intent: { kind: 'limit', code: 'agent-timeout' }, exitCode: null },
      'agent-timeout',
    ],
    ['its budget was spent', { intent: { kind: 'limit', code: 'agent-budget' }, exitCode: 1 }, 'agent-budget'],
    ['its lease ended', { outcome: 'killed', cause: 'lease-expired', exitCode: null }, 'lease-expired'],
    [
      'its lease ended while the orchestrator stopped',
      { outcome: 'killed', cause: 'lease-expired', intent: { kind: 'lost' }, exitCode: null },
      'lease-expired',
    ],
    ['the orchestrator stopped', { outcome: 'killed', intent: { kind: 'lost' }, exitCode: null }, 'orchestrator-lost'],
  ] as [string, Partial<EndFacts>, string][])('is a failure with a code where %s', (_, over, code) => {
    expect(endOfAgent(facts(over))).toMatchObject({ kind: 'failed', code, sentence: expect.stringMatching(/\.$/) });
  });

  it('says how much of the disk it had, and might have had', () => {
    expect(endOfAgent(facts({ exitCode: 137, overDisk: FULL }))).toMatchObject({
      sentence:
        'The agent filled more of the disk than it may: 12.0 MiB in 70 entries at least, of 10.0 MiB in 1000 entries.',
    });
    expect(endOfAgent(facts({ exitCode: null, overDisk: FULL, intent: { kind: 'killed' } }))).toEqual({
      kind: 'killed',
    });
  });

  it('is a death where somebody ordered it, whatever the agent said', () => {
    expect(endOfAgent(facts({ intent: { kind: 'killed' }, submitted: 'done' }))).toEqual({ kind: 'killed' });
    expect(endOfAgent(facts({ outcome: 'killed', submitted: 'done', exitCode: null }))).toEqual({ kind: 'killed' });
    expect(endOfAgent(facts({ outcome: 'killed', exitCode: 137, overDisk: FULL }))).toEqual({ kind: 'killed' });
  });

  it('is its work where it ended by itself before the signal of a limit came', () => {
    const limit = { kind: 'limit', code: 'agent-timeout' } as const;
    expect(endOfAgent(facts({ intent: limit, submitted: 'done' }))).toMatchObject({ kind: 'submitted' });
  });
});
