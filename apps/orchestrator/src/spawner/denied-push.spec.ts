import { deniedPushContract } from '../../test/contract/denied-push.contract.js';
import { BUBBLEWRAP } from '../../test/test-sandbox.js';

jest.setTimeout(300_000);

describe('in bubblewrap', () => {
  deniedPushContract(BUBBLEWRAP, ['https', 'ssh']);
});
