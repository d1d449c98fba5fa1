import { acpRuntimeContract } from '../../../test/contract/acp-runtime.contract.js';
import { dockerOfTests } from '../../../test/docker-of-tests.js';

jest.setTimeout(400_000);

describe('in Docker', () => {
  acpRuntimeContract(dockerOfTests());
});
