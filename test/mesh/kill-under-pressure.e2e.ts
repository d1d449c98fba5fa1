import { bubblewrap } from './execution/driver.js';
import { describePressure } from './killswitch/pressure.js';

jest.setTimeout(600_000);

describe('in bubblewrap', () => {
  describePressure(bubblewrap);
});
