import { bubblewrap } from './execution/driver.js';
import { describeLocal } from './killswitch/local.js';

jest.setTimeout(600_000);

describe('in bubblewrap', () => {
  describeLocal(bubblewrap);
});
