import { describeClaudeCode } from './execution/claude-code.js';
import { dockerOfFile } from './execution/docker-of-file.js';
import { describeLife } from './execution/life.js';
import { describeTen } from './execution/ten.js';

jest.setTimeout(600_000);

describe('in Docker', () => {
  const docker = dockerOfFile();
  describeLife(docker);
  describeTen(docker);
  describeClaudeCode(docker);
});
