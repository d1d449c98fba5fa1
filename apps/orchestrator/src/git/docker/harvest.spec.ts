import { DockerDriver } from '@capstan/sandbox';
import { changingWorktreeContract } from '../../../test/contract/changing-worktree.contract.js';
import { dockerOfTests } from '../../../test/docker-of-tests.js';
import { gitAttacksContract } from '../../../test/contract/git-attacks.contract.js';
import { hostileWorktreeContract } from '../../../test/contract/hostile-worktree.contract.js';

jest.setTimeout(300_000);

describe('in Docker', () => {
  const { docker } = dockerOfTests();
  const driver = (): DockerDriver => new DockerDriver({ ...docker() });
  gitAttacksContract(driver);
  hostileWorktreeContract(driver);
  changingWorktreeContract(driver);
});
