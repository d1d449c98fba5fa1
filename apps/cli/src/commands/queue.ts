import { resolve } from 'node:path';
import { OrchestratorDoor } from '@capstan/localmesh';
import type { Output } from '../output/output.js';

/** The queue of the instance in `directory`, as its orchestrator has it; moved first where a verb is given. */
export async function queue(output: Output, verb: 'show' | 'pause' | 'resume', directory: string): Promise<void> {
  const door = new OrchestratorDoor(resolve(directory));
  const view = verb === 'show' ? await door.queue() : await door.moveQueue(verb);
  const { pending, active, completed, failed, paused, startsPerMinute } = view;
  output.result('queue', { queue: view }, [
    paused ? 'Paused: nothing is started until it is resumed; what runs goes on.' : 'Agents are started in turn.',
    `${String(pending)} wait, ${String(active)} run, ${String(completed)} have completed, ${String(failed)} have not.`,
    ...(startsPerMinute === null ? [] : [`At most ${String(startsPerMinute)} are started within any minute.`]),
  ]);
}
