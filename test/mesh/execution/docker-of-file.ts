import { DockerDriver } from '@capstan/sandbox';
import { TestDocker } from '../../support/test-docker.js';
import { until } from '../../support/until.js';
import type { StartDriver } from './driver.js';

/**
 * One daemon for every mesh of the calling file, with the image of agents made before the first of them.
 *
 * @param programs of this host that the image has beside the usual ones.
 */
export function dockerOfFile(programs: readonly string[] = []): StartDriver {
  let daemon: TestDocker | undefined;
  beforeAll(async () => {
    daemon = await TestDocker.start();
    await new DockerDriver({ socketPath: daemon.socketPath, programs }).probe();
  });
  afterAll(async () => {
    await daemon?.[Symbol.asyncDispose]();
  });
  return async () => {
    const docker = daemon;
    if (docker === undefined) throw new Error('Docker is not there');
    const { socketPath } = docker;
    const [image] = (await docker.get('/images/json')) as { RepoTags: string[] }[];
    return {
      mesh: { sandbox: { driver: 'docker', socketPath }, env: { CAPSTAN_AGENT_IMAGE: image?.RepoTags[0] ?? '' } },
      leftNothing: async () => {
        await until('no container is left', async () => (await docker.containers()).length === 0, 120_000);
      },
      // What one mesh left is not the next one's fault.
      [Symbol.asyncDispose]: () => docker.removeContainers(),
    };
  };
}
