import { isKillWithoutStore } from './history/deaths.ts';
import type { Schedule } from './plan/schedule.ts';
import type { RunResult } from './run.ts';
import { nameOf } from './stage/weather.ts';

/** Counts what was played, and tells people or programs. */
export class Tally {
  private readonly startedAt = Date.now();
  private readonly seed: number;
  private readonly isJson: boolean;
  private runs = 0;
  private failures = 0;
  private accepted = 0;
  private faults = 0;
  private known = 0;
  private readonly settledMs: number[] = [];
  /** Milliseconds that kills took while only a store was away. */
  private readonly killMs: number[] = [];

  constructor(seed: number, isJson: boolean) {
    this.seed = seed;
    this.isJson = isJson;
  }

  played(schedule: Schedule, { violations, orders, settledMs }: RunResult, tookMs: number): void {
    const { run, faults } = schedule;
    const accepted = orders.filter(({ answer }) => answer === 'accepted').length;
    this.runs += 1;
    this.failures += violations.length > 0 ? 1 : 0;
    this.accepted += accepted;
    this.faults += faults.length;
    this.known += orders.length;
    this.settledMs.push(settledMs);
    this.killMs.push(...orders.filter(isKillWithoutStore).map(({ askedAt, answeredAt }) => answeredAt - askedAt));
    const names = faults.map(nameOf);
    if (this.isJson) {
      const told = {
        seed: this.seed,
        run,
        faults: names,
        orders: orders.length,
        accepted,
        settledMs,
        tookMs,
        violations,
      };
      console.log(JSON.stringify(told));
      return;
    }
    const verdict = violations.length === 0 ? 'ok  ' : 'FAIL';
    const counts = `${String(accepted)} of ${String(orders.length)} orders acknowledged`;
    console.log(`${verdict} run ${String(run)}  ${(tookMs / 1000).toFixed(1)} s  ${counts}  ${names.join(', ')}`);
    for (const { rule, subject, sentence } of violations) console.log(`     ${rule}: ${subject}: ${sentence}`);
  }

  failed(smallest: Schedule, logs: string): void {
    const again = `npm run chaos -- --seed ${String(this.seed)} --run ${String(smallest.run)}`;
    if (this.isJson) {
      console.log(JSON.stringify({ seed: this.seed, run: smallest.run, again, smallest, logs }));
      return;
    }
    console.log(`\nSeed ${String(this.seed)}, run ${String(smallest.run)}; again: ${again}`);
    console.log(`Smallest schedule that still fails:\n${JSON.stringify(smallest, null, 1)}`);
    console.log(`Logs and history.json: ${logs}\n`);
  }

  end(): void {
    const seconds = Math.round((Date.now() - this.startedAt) / 1000);
    const { seed, runs, failures, faults, known: orders, accepted, settledMs, killMs } = this;
    const kills = { count: killMs.length, slowestMs: Math.max(0, ...killMs) };
    const slowestMs = Math.max(0, ...settledMs);
    if (this.isJson) {
      const killsWithoutStore = kills;
      console.log(
        JSON.stringify({ seed, runs, failures, faults, orders, accepted, slowestMs, killsWithoutStore, seconds }),
      );
      return;
    }
    console.log(
      [
        `${String(runs)} runs of seed ${String(seed)}, ${String(failures)} failed; ${String(seconds)} s`,
        `${String(faults)} faults, ${String(orders)} orders, ${String(accepted)} acknowledged`,
        `settled at most ${String(slowestMs)} ms after the last fault`,
        `${String(kills.count)} kills while only a store was away, the slowest in ${String(kills.slowestMs)} ms`,
      ].join('\n'),
    );
  }
}
