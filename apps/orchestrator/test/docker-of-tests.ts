import { DockerDriver } from '@capstan/sandbox';
import { TestDocker } from '../../../test/support/test-docker.js';
import { until } from '../../../test/support/until.js';
import type { TestSandbox } from './test-sandbox.js';

/** A real Docker of its own for the tests of the calling suite. */
export function dockerOfTests(): TestSandbox & { daemon: () => TestDocker } {
  let docker: TestDocker | undefined;
  beforeAll(async () => {
    docker = await TestDocker.start();
    // Makes the image, so that the first agent does not wait for it.
    await new DockerDriver({ socketPath: docker.socketPath }).probe();
  });
  afterAll(async () => {
    await docker?.[Symbol.asyncDispose]();
  });
  const running = (): TestDocker => {
    if (docker === undefined) throw new Error('Docker is not there');
    return docker;
  };
  return {
    daemon: running,
    docker: () => ({ socketPath: running().socketPath }),
    nothingIsLeft: async () => {
      await until('no container is left', async () => (await running().containers()).length === 0, 120_000);
    },
  };
}
