import { TestDocker } from '../../support/test-docker.js';
import { until } from '../../support/until.js';
import type { StartDriver } from './driver.js';

/** A daemon of its own. */
export const docker: StartDriver = async () => {
  const daemon = await TestDocker.start();
  return {
    mesh: { sandbox: { driver: 'docker', socketPath: daemon.socketPath } },
    leftNothing: async () => {
      await until('no container is left', async () => (await daemon.containers()).length === 0, 60_000);
    },
    [Symbol.asyncDispose]: () => daemon[Symbol.asyncDispose](),
  };
};
