import { bubblewrap } from './execution/driver.js';
import { describeClaudeCode } from './execution/claude-code.js';
import { describeLife } from './execution/life.js';
import { describeTen } from './execution/ten.js';

jest.setTimeout(600_000);

describe('in bubblewrap', () => {
  describeLife(bubblewrap);
  describeTen(bubblewrap);
  describeClaudeCode(bubblewrap);
});
