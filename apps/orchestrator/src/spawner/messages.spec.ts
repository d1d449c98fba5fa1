import { builtInAgent } from '../../test/built-in-agent.js';
import { messagesContract } from '../../test/contract/messages.contract.js';
import { BUBBLEWRAP } from '../../test/test-sandbox.js';

jest.setTimeout(300_000);

describe('in bubblewrap', () => {
  messagesContract(builtInAgent(BUBBLEWRAP));
});
