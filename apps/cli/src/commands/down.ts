import { defaultStateDir, endLeftovers, lockHolder, stopHolder } from '@capstan/localmesh';
import { LocalFault } from '@capstan/protocol';
import type { Output } from '../output/output.js';

/** Killing agents and draining eight processes takes a second or two; a hung one is cut after 12. */
const STOP_MS = 60_000;

/** Ends the mesh that runs from a state directory. Nothing running is no error. */
export async function down(output: Output, options: { state?: string }): Promise<void> {
  const stateDir = options.state ?? defaultStateDir();
  const holder = lockHolder(stateDir);
  if (holder === null) {
    const ended = await endLeftovers(stateDir);
    const left = ended.length === 0 ? [] : [`Ended what an earlier one had left: ${ended.join(', ')}.`];
    output.result('down', { stateDir, wasRunning: false, ended }, [`No mesh runs from ${stateDir}.`, ...left]);
    return;
  }
  if (!(await stopHolder(holder, STOP_MS))) {
    throw new LocalFault(
      'wait-timeout',
      `The mesh (process ${String(holder.pid)}) did not end within ${String(STOP_MS / 1000)} s.`,
    );
  }
  output.result('down', { stateDir, wasRunning: true, ended: [] }, ['The mesh has ended.']);
}
