import { stallsContract } from '../../test/contract/stalls.contract.js';
import { BUBBLEWRAP } from '../../test/test-sandbox.js';

jest.setTimeout(300_000);

describe('in bubblewrap', () => {
  stallsContract(BUBBLEWRAP);
});
