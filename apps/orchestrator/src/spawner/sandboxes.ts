import type { Logger } from '@capstan/platform';
import { BubblewrapDriver, DiskWatcher, DockerDriver, SandboxDrivers } from '@capstan/sandbox';
import type { Settings } from '../config/settings.js';

/** The sandboxes of this instance: the one that its settings name first, which also takes in work; bubblewrap always. */
export function sandboxesOf({ docker, paths }: Pick<Settings, 'docker' | 'paths'>, logger: Logger): SandboxDrivers {
  const owner = paths.agents;
  const disk = new DiskWatcher(({ agentId, sentence, cause }) => {
    logger.warn({ agentId, ...(cause !== undefined && { err: cause }), msg: sentence });
  });
  const bubblewrap = new BubblewrapDriver({ owner, disk });
  if (docker === undefined) return new SandboxDrivers([bubblewrap]);
  return new SandboxDrivers([new DockerDriver({ ...docker, owner, disk, room: paths.gates }), bubblewrap]);
}
