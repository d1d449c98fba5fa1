/** `npm run verify`: every check that needs no running mesh, each named and timed; all of them run, whichever fails. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { performance } from 'node:perf_hooks';
import { STEPS, type Step } from './steps.ts';

interface Outcome {
  step: Step;
  passed: boolean;
  seconds: number;
  output: string;
}

async function run(step: Step): Promise<Outcome> {
  const started = performance.now();
  const [command, ...args] = step.command;
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => (output += text));
  }
  const [code] = (await once(child, 'close').catch((error: unknown) => [String(error)])) as [number | string | null];
  return { step, passed: code === 0, seconds: (performance.now() - started) / 1000, output };
}

/** Steps that only read, side by side; most of them keep one core busy. */
const SIDE_BY_SIDE = 2;

const started = performance.now();
const only = process.argv.slice(2);
const chosen = STEPS.filter(({ name }) => only.length === 0 || only.includes(name));
const outcomes: Outcome[] = [];

async function work(steps: Step[]): Promise<void> {
  for (let step = steps.shift(); step !== undefined; step = steps.shift()) {
    const outcome = await run(step);
    outcomes.push(outcome);
    report(outcome);
  }
}

const reading = chosen.filter(({ alone }) => alone !== true);
await Promise.all(Array.from({ length: SIDE_BY_SIDE }, () => work(reading)));
await work(chosen.filter(({ alone }) => alone === true));

const failed = outcomes.filter(({ passed }) => !passed).map(({ step }) => step.name);
const seconds = ((performance.now() - started) / 1000).toFixed(1);
console.log(
  `${String(outcomes.length - failed.length)} of ${String(outcomes.length)} steps passed in ${seconds} s` +
    (failed.length > 0 ? `; failed: ${failed.join(', ')}` : ''),
);
if (failed.length > 0) process.exitCode = 1;

function report({ step, passed, seconds, output }: Outcome): void {
  const lastLine = passed ? (output.trimEnd().split('\n').at(-1) ?? '') : '';
  console.log(
    `${passed ? 'ok  ' : 'FAIL'} ${step.name.padEnd(12)} ${seconds.toFixed(1).padStart(6)} s  ${lastLine}`.trimEnd(),
  );
  if (!passed) console.log(output);
}
