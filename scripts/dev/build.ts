import { spawn } from 'node:child_process';
import { once } from 'node:events';

const NEST = 'node_modules/@nestjs/cli/bin/nest.js';
const AGENT = 'scripts/bundle-agent.mjs';

/** Builds projects, and the agent's one file where it may hold some of them. @returns whether all of it was built */
export async function build(projects: readonly string[]): Promise<boolean> {
  for (const project of projects) if (project !== 'agent' && !(await succeeds([NEST, 'build', project]))) return false;
  return succeeds([AGENT]);
}

async function succeeds(args: readonly string[]): Promise<boolean> {
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (part: string) => (text += part));
  const [code] = (await once(child, 'close')) as [number | null];
  // Nest's SWC builder ends with 0 also where a file could not be compiled.
  const isDone = code === 0 && !/failed|error/i.test(text);
  if (!isDone) process.stderr.write(text);
  return isDone;
}
