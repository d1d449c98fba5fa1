import { docker } from './execution/docker-driver.js';
import { describeLife } from './execution/life.js';
import { describeTen } from './execution/ten.js';

jest.setTimeout(600_000);

describe('in Docker', () => {
  describeLife(docker);
  describeTen(docker);
});
