import { TestDocker } from '../../../../test/support/test-docker.js';
import { sandboxContract } from '../sandbox.contract.js';
import { DockerDriver } from './driver.js';

jest.setTimeout(60_000);

/** Beside what an agent's image has: the programs with which the contract tries to get out. */
const PROGRAMS = ['unshare', 'mount', 'nsenter', 'chroot'];

let docker: TestDocker;
beforeAll(async () => {
  docker = await TestDocker.start();
});
afterAll(async () => {
  await docker[Symbol.asyncDispose]();
});

describe('docker', () => {
  sandboxContract({ driver: () => new DockerDriver({ socketPath: docker.socketPath, programs: PROGRAMS }), limits: true });
});
