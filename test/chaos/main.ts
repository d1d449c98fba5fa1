/**
 * `npm run chaos -- --runs N --seed S [--from I] [--lanes L] [--json] [--run I]`: real meshes, random orders and faults, and a reading of
 * everything that is left behind. Ends with 1 where a promise was broken; then the seed, the smallest schedule that still
 * fails and the place of the logs are printed.
 */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { makeSchedule, type Schedule } from './plan/schedule.ts';
import { shrink } from './plan/shrink.ts';
import { Tally } from './report.ts';
import { boundsOf, playRun } from './run.ts';
import { ChaosMesh } from './stage/chaos-mesh.ts';

/** Starting a mesh takes longer than a run on it; one that has suffered that often is let go. */
const RUNS_OF_A_MESH = 10;
const STARTS = 3;
const SHRINK_MS = 180_000;

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '25' },
    seed: { type: 'string' },
    /** The first run that is played: goes on with what was broken off. */
    from: { type: 'string', default: '0' },
    /** Plays this one run of the seed alone. */
    run: { type: 'string' },
    /** Meshes at the same time. */
    lanes: { type: 'string', default: '1' },
    json: { type: 'boolean', default: false },
  },
});
const [runs, lanes, from] = [Number(values.runs), Number(values.lanes), Number(values.from)];
const seed = Number(values.seed ?? Date.now() % 1_000_000);
if (
  ![runs, lanes].every((count) => Number.isSafeInteger(count) && count >= 1) ||
  ![seed, from].every((it) => Number.isSafeInteger(it) && it >= 0)
) {
  throw new Error('--runs, --lanes, --seed and --from are whole numbers');
}
const chosen =
  values.run === undefined ? Array.from({ length: runs }, (_, index) => from + index) : [Number(values.run)];

/** Ctrl-C lets the runs that are under way end, and takes their meshes down in order. */
let isInterrupted = false;
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => (isInterrupted = true));

const tally = new Tally(seed, values.json);
await Promise.all(Array.from({ length: lanes }, playAll));
tally.end();

async function playAll(): Promise<void> {
  while (chosen.length > 0 && !isInterrupted) {
    const failure = await playOnOneMesh(nextTurn());
    if (failure === undefined) continue;
    const { schedule, logs, rules } = failure;
    const deadline = Date.now() + SHRINK_MS;
    const fails = (candidate: Schedule): Promise<boolean> => failsAlone(candidate, rules);
    const smallest = await shrink(schedule, fails, () => Date.now() < deadline && !isInterrupted);
    tally.failed(smallest, logs);
    process.exitCode = 1;
  }
}

/** The next runs that share a mesh. */
function nextTurn(): number[] {
  const [first = 0] = chosen;
  const isShared = (run: number): boolean => meshOf(run) === meshOf(first);
  const end = chosen.findIndex((run) => !isShared(run));
  return chosen.splice(0, end === -1 ? chosen.length : end);
}

function meshOf(run: number): number {
  return Math.floor(run / RUNS_OF_A_MESH);
}

/** Every second mesh has two hubs. */
function hubsOf(run: number): number {
  return (meshOf(run) % 2) + 1;
}

interface Failure {
  schedule: Schedule;
  logs: string;
  rules: readonly string[];
}

/** @returns the first run that broke a promise; those after it get a mesh of their own */
function playOnOneMesh(turn: number[]): Promise<Failure | undefined> {
  const [first = 0] = turn;
  return onMesh(hubsOf(first), async (stage, logs) => {
    for (let run = turn.shift(); run !== undefined && !isInterrupted; run = turn.shift()) {
      const schedule = makeSchedule(seed, run, boundsOf(stage));
      const startedAt = Date.now();
      const result = await playRun(stage, schedule);
      tally.played(schedule, result, Date.now() - startedAt);
      if (result.violations.length === 0) continue;
      chosen.unshift(...turn);
      writeFileSync(join(logs, 'history.json'), JSON.stringify({ schedule, ...result }, null, 1));
      return { schedule, logs, rules: result.violations.map(({ rule }) => rule) };
    }
    return undefined;
  });
}

async function failsAlone(schedule: Schedule, rules: readonly string[]): Promise<boolean> {
  let hasFailed = false;
  await onMesh(hubsOf(schedule.run), async (stage) => {
    const { violations } = await playRun(stage, schedule);
    hasFailed = violations.some(({ rule }) => rules.includes(rule));
    return undefined;
  });
  return hasFailed;
}

/** On a fresh mesh; its directory stays where `play` returns something, or throws. */
async function onMesh<T>(
  hubs: number,
  play: (stage: ChaosMesh, stateDir: string) => Promise<T | undefined>,
): Promise<T | undefined> {
  let found: T | undefined;
  let stateDir: string;
  {
    await using stage = await startMesh(hubs);
    stateDir = stage.mesh.stateDir;
    found = await play(stage, stateDir);
  }
  if (found === undefined) rmSync(stateDir, { recursive: true, force: true });
  return found;
}

/** A machine that others use may be too slow once: that is no finding, and must not end a thousand runs. */
async function startMesh(hubs: number): Promise<ChaosMesh> {
  for (let attempt = 1; ; attempt += 1) {
    const stateDir = mkdtempSync(join(tmpdir(), 'capstan-chaos-'));
    // Agents run under uids of their own.
    chmodSync(stateDir, 0o711);
    try {
      return await ChaosMesh.start(stateDir, hubs);
    } catch (error) {
      if (attempt === STARTS || isInterrupted) throw error;
      process.stderr.write(`A mesh did not start, and is tried again: ${String(error)}\n`);
      rmSync(stateDir, { recursive: true, force: true });
    }
  }
}
