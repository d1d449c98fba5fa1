import { acpRuntimeContract } from '../../test/contract/acp-runtime.contract.js';
import { BUBBLEWRAP } from '../../test/test-sandbox.js';

jest.setTimeout(300_000);

describe('in bubblewrap', () => {
  acpRuntimeContract(BUBBLEWRAP);
});
