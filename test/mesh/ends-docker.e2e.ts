import { describeEnds } from './ends/ends.js';
import { describePaid } from './ends/paid.js';
import { dockerOfFile } from './execution/docker-of-file.js';

jest.setTimeout(600_000);

describe('in Docker', () => {
  const docker = dockerOfFile();
  describeEnds(docker);
  describePaid(docker);
});
