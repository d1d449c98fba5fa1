/**
 * `npm run logs`: follows the logs of the processes of this checkout's mesh, the last lines first.
 *
 *   npm run logs                    all of them
 *   npm run logs -- orchestrator    those whose name has this in it
 *   npm run logs -- --state DIR     of another mesh
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { become, main, SetupFault } from './setup/run.mjs';

await main(async () => {
  const { values, positionals } = parseArgs({ options: { state: { type: 'string' } }, allowPositionals: true });
  const directory = join(values.state ?? (await stateDir()), 'logs');
  const files = logsIn(directory).filter((name) => positionals.every((word) => name.includes(word)));
  if (files.length === 0) throw new SetupFault(`There is no such log in ${directory}; is a mesh up? npm run dev`);
  await become('tail', ['-n', '20', '-F', ...files], { cwd: directory });
});

async function stateDir() {
  const localmesh = new URL('../dist/libs/localmesh/src/index.js', import.meta.url);
  try {
    return (await import(localmesh.href)).defaultStateDir();
  } catch (error) {
    throw new SetupFault(`Nothing is built yet: npm run build`, { cause: error });
  }
}

function logsIn(directory) {
  try {
    return readdirSync(directory, { recursive: true }).filter((name) => name.endsWith('.log'));
  } catch {
    return [];
  }
}
