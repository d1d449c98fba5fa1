import { builtInAgent } from '../../test/built-in-agent.js';
import { submitContract } from '../../test/contract/submit.contract.js';
import { BUBBLEWRAP } from '../../test/test-sandbox.js';

jest.setTimeout(300_000);

describe('in bubblewrap', () => {
  submitContract(builtInAgent(BUBBLEWRAP));
});
