import { bubblewrap } from './execution/driver.js';
import { describeHostile, describeHostileInTrouble } from './killswitch/hostile.js';

jest.setTimeout(600_000);

describe('in bubblewrap', () => {
  describeHostile(bubblewrap);
  describeHostileInTrouble(bubblewrap);
});
