import { diskBoundContract } from '../../../test/contract/disk-bound.contract.js';
import { dockerOfTests } from '../../../test/docker-of-tests.js';
import { stallsContract } from '../../../test/contract/stalls.contract.js';

jest.setTimeout(400_000);

describe('in Docker', () => {
  const docker = dockerOfTests();
  stallsContract(docker);
  diskBoundContract(docker);
});
