import { commandRuntimeContract } from '../../../test/contract/command-runtime.contract.js';
import { dockerOfTests } from '../../../test/docker-of-tests.js';

jest.setTimeout(400_000);

describe('in Docker', () => {
  commandRuntimeContract(dockerOfTests());
});
