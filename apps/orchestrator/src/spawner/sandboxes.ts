import { BubblewrapDriver, DockerDriver, SandboxDrivers } from '@capstan/sandbox';
import type { Settings } from '../config/settings.js';

/** The sandboxes of this instance: the one that its settings name first, which also takes in work; bubblewrap always. */
export function sandboxesOf({ docker, paths }: Pick<Settings, 'docker' | 'paths'>): SandboxDrivers {
  const owner = paths.agents;
  const bubblewrap = new BubblewrapDriver({ owner });
  if (docker === undefined) return new SandboxDrivers([bubblewrap]);
  return new SandboxDrivers([new DockerDriver({ ...docker, owner, room: paths.gates }), bubblewrap]);
}
