import type { MeshOptions } from '@capstan/localmesh';
import { TestDocker } from '../../support/test-docker.js';
import { until } from '../../support/until.js';

/** A sandbox driver of one test, and what only it leaves behind. */
export interface TestDriver extends AsyncDisposable {
  /** How a mesh is told to run its agents. */
  readonly mesh: Pick<MeshOptions, 'sandbox'>;
  /** Waits until the driver itself knows of no agent any more. */
  leftNothing(): Promise<void>;
}

export type StartDriver = () => Promise<TestDriver>;

export const bubblewrap: StartDriver = () =>
  Promise.resolve({
    mesh: { sandbox: { driver: 'bubblewrap' } },
    leftNothing: () => Promise.resolve(),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  });

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
