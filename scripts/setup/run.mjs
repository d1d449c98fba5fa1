import { spawn } from 'node:child_process';
import { constants } from 'node:os';

/** Ends a script with one sentence and no stack. */
export class SetupFault extends Error {}

/** Tells people something; never on stdout, which may belong to one JSON object. */
export function say(text) {
  process.stderr.write(`${text}\n`);
}

/** Runs a command to its end; what it prints goes to stderr. @returns its exit code */
export function run(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['inherit', 2, 2], ...options });
    child.once('error', reject);
    child.once('exit', (code, signal) => resolve(codeOf(code, signal)));
  });
}

/** Runs a command whose words matter only when it fails. @returns its exit code, and what it printed */
export function runQuietly(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
    let text = '';
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (part) => (text += part));
    child.once('error', reject);
    child.once('close', (code, signal) => resolve({ code: codeOf(code, signal), text }));
  });
}

/** Tells what takes a while and how long it took; at a terminal also, meanwhile, how long it has taken. */
export async function timed(what, work) {
  const isTerminal = process.stderr.isTTY;
  const startedAt = performance.now();
  const seconds = (digits) => ((performance.now() - startedAt) / 1000).toFixed(digits);
  const show = (line) => process.stderr.write(isTerminal ? `\r\u001b[K${line}` : `${line}\n`);
  show(`… ${what}`);
  const clock = isTerminal ? setInterval(() => show(`… ${what} (${seconds(0)} s)`), 1000) : undefined;
  let mark = '✘';
  try {
    await work();
    mark = '✔';
  } finally {
    clearInterval(clock);
    show(`${mark} ${what} (${seconds(1)} s)`);
    if (isTerminal) say('');
  }
}

/** Becomes the command, as far as a script can: same streams, signals passed on, its exit code kept. */
export async function become(command, args, options = {}) {
  const child = spawn(command, args, { stdio: 'inherit', ...options });
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  const passOn = (signal) => child.kill(signal);
  for (const signal of signals) process.on(signal, passOn);
  process.exitCode = await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => resolve(codeOf(code, signal)));
  });
  for (const signal of signals) process.off(signal, passOn);
}

/** Runs a script's body; a SetupFault becomes a sentence and exit code 1. */
export async function main(body) {
  try {
    await body();
  } catch (error) {
    if (!(error instanceof SetupFault)) throw error;
    say(`capstan: ${error.message}`);
    process.exitCode = 1;
  }
}

function codeOf(code, signal) {
  return code ?? 128 + (constants.signals[signal] ?? 0);
}
