import { builtInAgent } from '../../test/built-in-agent.js';
import { compactionContract } from '../../test/contract/compaction.contract.js';
import { BUBBLEWRAP } from '../../test/test-sandbox.js';

jest.setTimeout(300_000);

describe('in bubblewrap', () => {
  compactionContract(builtInAgent(BUBBLEWRAP));
});
