import { deniedPushContract } from '../../../test/contract/denied-push.contract.js';
import { dockerOfTests } from '../../../test/docker-of-tests.js';
import { hardRepositoriesContract } from '../../../test/contract/hard-repositories.contract.js';

jest.setTimeout(400_000);

describe('in Docker', () => {
  const docker = dockerOfTests();
  hardRepositoriesContract(docker);
  deniedPushContract(docker, ['https']);
});
