import { commandRuntimeContract } from '../../test/contract/command-runtime.contract.js';
import { BUBBLEWRAP } from '../../test/test-sandbox.js';

jest.setTimeout(300_000);

describe('in bubblewrap', () => {
  commandRuntimeContract(BUBBLEWRAP);
});
