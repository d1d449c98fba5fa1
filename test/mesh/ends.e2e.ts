import { describeEnds } from './ends/ends.js';
import { describePaid } from './ends/paid.js';
import { bubblewrap } from './execution/driver.js';

jest.setTimeout(600_000);

describe('in bubblewrap', () => {
  describeEnds(bubblewrap);
  describePaid(bubblewrap);
});
