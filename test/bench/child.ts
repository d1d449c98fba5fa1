import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** A program of this folder that runs in a process of its own, so that its CPU time is its own. */
export interface Child<Ready> extends AsyncDisposable {
  pid: number;
  /** The first line that the program printed, parsed. */
  ready: Ready;
  /** The next line of JSON that it prints, parsed. @throws Error where it ends without one */
  nextLine(): Promise<unknown>;
}

/**
 * Starts a program of this folder and waits for its first line of JSON. It ends when its stdin does, which is when it is
 * disposed of or this process dies.
 *
 * @throws Error when the program ends before it has said anything
 */
export async function startChild<Ready>(file: string, args: string[] = []): Promise<Child<Ready>> {
  const child = spawn(process.execPath, [...process.execArgv, join(import.meta.dirname, file), ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  const lines = createInterface({ input: child.stdout });
  const first = await Promise.race([once(lines, 'line'), exited.then(() => undefined)]);
  if (first === undefined || child.pid === undefined) throw new Error(`${file} has ended before it was ready`);
  const later: unknown[] = [];
  let tell: (() => void) | undefined;
  lines.on('line', (line) => {
    if (!line.startsWith('{')) process.stderr.write(`${line}\n`);
    else {
      later.push(JSON.parse(line));
      tell?.();
    }
  });
  return {
    async nextLine() {
      while (later.length === 0) {
        if (child.exitCode !== null) throw new Error(`${file} has ended before it was done`);
        await Promise.race([new Promise<void>((resolve) => (tell = resolve)), exited]);
      }
      return later.shift();
    },
    pid: child.pid,
    ready: JSON.parse(String(first[0])) as Ready,
    async [Symbol.asyncDispose]() {
      child.stdin.end();
      await exited;
    },
  };
}

/** For the program itself: says what the parent needs to know, then waits until the parent lets go. */
export async function serveParent(ready: unknown): Promise<void> {
  console.log(JSON.stringify(ready));
  await once(process.stdin.resume(), 'end');
}
