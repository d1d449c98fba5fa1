import { bubblewrap } from './execution/driver.js';
import { describeLocal } from './killswitch/local.js';

jest.setTimeout(240_000);

describe('in bubblewrap', () => {
  describeLocal(bubblewrap);
});
