import { TestDocker } from '../../../../test/support/test-docker.js';
import { sandboxContract } from '../sandbox.contract.js';
import { DockerDriver } from './driver.js';

jest.setTimeout(90_000);

/** Beside what an agent's image has: the programs with which the contract tries to get out, and holds on to its files. */
const PROGRAMS = ['unshare', 'mount', 'nsenter', 'chroot', 'flock'];

let docker: TestDocker;
let driver: DockerDriver;
beforeAll(async () => {
  docker = await TestDocker.start();
  driver = new DockerDriver({ socketPath: docker.socketPath, programs: PROGRAMS });
  // Makes the image.
  expect(await driver.probe()).toMatchObject({ available: true });
});
afterAll(async () => {
  await docker[Symbol.asyncDispose]();
});

describe('docker', () => {
  const options = (): object => ({ socketPath: docker.socketPath, programs: PROGRAMS });
  sandboxContract({ driver: () => driver, options, outlivesOwner: true, groups: ['v2', 'v1'], limits: true });
});
