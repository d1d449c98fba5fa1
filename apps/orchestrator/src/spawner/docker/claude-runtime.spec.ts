import { builtInAgent } from '../../../test/built-in-agent.js';
import { compactionContract } from '../../../test/contract/compaction.contract.js';
import { dockerOfTests } from '../../../test/docker-of-tests.js';
import { messagesContract } from '../../../test/contract/messages.contract.js';
import { submitContract } from '../../../test/contract/submit.contract.js';

jest.setTimeout(400_000);

describe('in Docker', () => {
  const docker = dockerOfTests();
  const agents = builtInAgent(docker);
  compactionContract(agents);
  messagesContract(agents);
  submitContract(agents);

  it('leaves nothing', () => docker.nothingIsLeft());
});
