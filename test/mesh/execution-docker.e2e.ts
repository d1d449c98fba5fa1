import { docker } from './execution/driver.js';
import { describeLife } from './execution/life.js';
import { describeTen } from './execution/ten.js';

jest.setTimeout(600_000);

describe('in Docker', () => {
  describeLife(docker);
  describeTen(docker);
});
