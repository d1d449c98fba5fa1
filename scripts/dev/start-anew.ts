import type { Mesh, SupervisedProcess } from '@capstan/localmesh';
import { LocalFault } from '@capstan/protocol';
import type { AppName } from './changes.ts';

/** Ends the processes of an app and starts them from what is built now; one that does not start is told of. */
export async function startAnew(mesh: Mesh, app: AppName, say: (text: string) => void): Promise<void> {
  for (const processes of processesOf(mesh, app)) {
    try {
      for (const each of processes) await each.stop();
      for (const each of processes.toReversed()) await each.start();
    } catch (error) {
      if (!(error instanceof LocalFault)) throw error;
      say(`${error.sentence} It is tried again with the next change.\n${error.detail ?? ''}`);
    }
  }
}

/** In the order in which they end: an orchestrator needs its reaper until it has ended. */
function processesOf(mesh: Mesh, app: AppName): SupervisedProcess[][] {
  if (app === 'hub') return mesh.hubs.map((hub) => [hub.process]);
  return mesh.instances.map((instance) =>
    app === 'spoke' ? [instance.spoke] : [instance.orchestrator, instance.reaper],
  );
}
