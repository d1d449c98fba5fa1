import type { Submission, SubmitAnswer } from './tools/submit-desk.js';
import { workUntilAccepted } from './work-until-accepted.js';

const COMMIT = '0123456789'.repeat(4);
const ACCEPTED: SubmitAnswer = { accepted: true, text: '', mendable: false };
const refused = (text: string, mendable = true): SubmitAnswer => ({ accepted: false, text, mendable });

describe('a program whose work is judged', () => {
  /** Has it say `says` in turn, answered by `answers` in turn and written to by `words` in turn. */
  async function run(
    says: string[],
    answers: SubmitAnswer[],
    { mends = 2, words = [] as string[][] } = {},
  ): Promise<{ summary: string | undefined; told: (string | undefined)[]; submitted: Submission[] }> {
    const told: (string | undefined)[] = [];
    const submitted: Submission[] = [];
    const summary = await workUntilAccepted({
      work: async (again) => {
        told.push(again);
        return says.shift() ?? 'Nothing more';
      },
      submit: async (submission) => {
        submitted.push(submission);
        return answers.shift() ?? ACCEPTED;
      },
      hear: async () => words.shift() ?? [],
      mends,
      say: () => undefined,
    });
    return { summary, told, submitted };
  }

  it('hears why it is sent back, and submits again', async () => {
    const { summary, told } = await run(['First', 'Second'], [refused('a secret in x'), ACCEPTED]);
    expect(summary).toBe('Second');
    expect(told).toEqual([undefined, expect.stringContaining('sent back: a secret in x')]);
  });

  it.each([0, 1, 3])('is sent back %i times, and has failed then', async (mends) => {
    const { summary, told } = await run(
      [],
      Array.from({ length: 9 }, () => refused('no')),
      { mends },
    );
    expect(summary).toBeUndefined();
    expect(told).toHaveLength(1 + mends);
  });

  it('leaves the rest to the end where it can do nothing about the answer', async () => {
    expect(await run(['Done'], [refused('the disk is full', false)])).toMatchObject({
      summary: 'Done',
      told: [undefined],
    });
  });

  it.each([
    [`Mended\nOnto: ${COMMIT}\n`, { summary: 'Mended', onto: COMMIT }],
    [`Onto: ${COMMIT} merge`, { summary: 'Work that was brought up to date', onto: COMMIT, by: 'merge' }],
    [`Onto: ${COMMIT} squash`, { summary: `Onto: ${COMMIT} squash` }],
    [`It is onto: ${COMMIT}`, { summary: `It is onto: ${COMMIT}` }],
  ])('says in its last words onto which commit its work was brought: %j', async (said, submission) => {
    const conflict = { ...refused('a conflict'), onto: COMMIT };
    expect((await run(['First', said], [conflict, ACCEPTED])).submitted.at(-1)).toEqual(submission);
  });

  it.each([
    ['that no answer has named', [refused(`a conflict\nOnto: ${COMMIT}`)], `Mended\nOnto: ${COMMIT}`],
    ['before its last line', [{ ...refused('a conflict'), onto: COMMIT }], `It says\nOnto: ${COMMIT}\nin README.md`],
  ])('is not heard where it names a commit %s', async (_, answers, said) => {
    expect((await run(['First', said], answers)).submitted.at(-1)).toEqual({ summary: said });
  });

  it('is told what the operator writes, as often as he does, before it submits', async () => {
    const words = [['Word one'], ['Word two'], []];
    const { told, submitted } = await run(['A', 'B', 'C'], [ACCEPTED], { mends: 0, words });
    expect(told).toEqual([undefined, 'Word one', 'Word two']);
    expect(submitted).toEqual([{ summary: 'C' }]);
  });

  it('is not blamed for a word that came while it submitted', async () => {
    const words = [[], ['A word'], [], []];
    const { summary, told } = await run(['A', 'B'], [refused('unread'), ACCEPTED], { mends: 0, words });
    expect(summary).toBe('B');
    expect(told.at(-1)).toContain('A word');
  });

  it('hears the operator in a turn of its own: never together with what others have pushed', async () => {
    const words = [[], ['The operator writes:\n\nA word'], [], []];
    const sent = refused('| a line of theirs');
    const { told, summary } = await run(['A', 'B', 'C'], [sent, sent, ACCEPTED], { mends: 1, words });
    expect(summary).toBe('C');
    expect(told.slice(1)).toEqual(['The operator writes:\n\nA word', expect.stringContaining('| a line of theirs')]);
    expect(told[2]).not.toContain('operator');
  });
});
