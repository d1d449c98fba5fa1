import type { MeshOptions } from '@capstan/localmesh';

/** A sandbox driver of one test, and what only it leaves behind. */
export interface TestDriver extends AsyncDisposable {
  /** How a mesh is told to run its agents. */
  readonly mesh: Pick<MeshOptions, 'sandbox' | 'env'>;
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
