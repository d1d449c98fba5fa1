import { Ended } from './wire/link.ts';

/** One row of the table: what a hostile peer does, and what it must get for it. */
export interface Attack<Target> {
  /** Stable, `hub.…` or `spoke.…`. */
  id: string;
  /** Sentence about what the peer does. */
  does: string;
  /** What it gets, see README; one of them where the document leaves a choice. */
  expect: string | readonly string[];
  /** What the target must have been given besides its address. */
  needs?: Need;
  /** Waits for a time limit of the implementation: begun first, beside the others, on sockets of its own. */
  isSlow?: true;
  /** Uses up what the implementation gives to an address: begun last, when nothing else needs it. */
  isGreedy?: true;
  run(target: Target): Promise<string>;
}

/** `admin`: the hub's API with a token. `restart`: a way to restart the spoke. `operator`: the peer's operator is pinned. */
export type Need = 'admin' | 'restart' | 'operator';

export interface Outcome {
  id: string;
  does: string;
  expect: readonly string[];
  /** What came; undefined where the attack was left out. */
  got: string | undefined;
  verdict: 'held' | 'MISMATCH' | 'left out';
  ms: number;
}

/** Runs attacks one after another, the slow ones beside them, the greedy ones after all others. An attack that throws is a mismatch with the error as what came. */
export async function runAttacks<Target>(
  attacks: readonly Attack<Target>[],
  target: Target,
  has: (need: Need) => boolean,
  onOutcome: (outcome: Outcome) => void = () => undefined,
): Promise<Outcome[]> {
  const run = async (attack: Attack<Target>): Promise<Outcome> => {
    const outcome = await runAttack(attack, target, has);
    onOutcome(outcome);
    return outcome;
  };
  const slow = attacks.filter(({ isSlow }) => isSlow).map(run);
  const quick = attacks.filter(({ isSlow, isGreedy }) => isSlow !== true && isGreedy !== true);
  const outcomes: Outcome[] = [];
  for (const attack of quick) outcomes.push(await run(attack));
  outcomes.push(...(await Promise.all(slow)));
  for (const attack of attacks.filter(({ isGreedy }) => isGreedy)) outcomes.push(await run(attack));
  return outcomes;
}

async function runAttack<Target>(
  attack: Attack<Target>,
  target: Target,
  has: (need: Need) => boolean,
): Promise<Outcome> {
  const { id, does } = attack;
  const expect = [attack.expect].flat();
  if (attack.needs !== undefined && !has(attack.needs))
    return { id, does, expect, got: undefined, verdict: 'left out', ms: 0 };
  const began = performance.now();
  const got = await attack.run(target).catch((error: unknown) => (error instanceof Ended ? error.how : String(error)));
  const ms = Math.round(performance.now() - began);
  return { id, does, expect, got, verdict: expect.includes(got) ? 'held' : 'MISMATCH', ms };
}
