import { spawn } from 'node:child_process';
import { once } from 'node:events';

const NEST = 'node_modules/@nestjs/cli/bin/nest.js';
const AGENT = 'scripts/bundle-agent.mjs';

/**
 * Builds projects, and the agent's one file where it may hold some of them.
 *
 * @returns whether all of it was built; why not is written to standard error, unless it was `interrupted`
 */
export async function build(projects: readonly string[], interrupted: AbortSignal): Promise<boolean> {
  for (const project of projects)
    if (project !== 'agent' && !(await succeeds([NEST, 'build', project], interrupted))) return false;
  return succeeds([AGENT], interrupted);
}

async function succeeds(args: readonly string[], interrupted: AbortSignal): Promise<boolean> {
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (part: string) => (text += part));
  const [code] = (await once(child, 'close')) as [number | null];
  // Ctrl-C ends the child too: that is no failure to tell of.
  if (code !== 0 && !interrupted.aborted) process.stderr.write(text);
  return code === 0;
}
