import { diskBoundContract } from '../../test/contract/disk-bound.contract.js';
import { BUBBLEWRAP } from '../../test/test-sandbox.js';

jest.setTimeout(300_000);

describe('in bubblewrap', () => {
  diskBoundContract(BUBBLEWRAP);
});
