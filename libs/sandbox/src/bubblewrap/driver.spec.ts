import { sandboxContract } from '../sandbox.contract.js';
import { BubblewrapDriver } from './driver.js';

describe('bubblewrap with the best control groups of this host', () => {
  const [driver, limits] = [new BubblewrapDriver(), process.getuid?.() === 0];
  sandboxContract({ driver, outlivesOwner: false, groups: ['v2', 'v1'], limits });
});

describe('bubblewrap with the v1 freezer', () => {
  const options = { controlGroups: 'v1' } as const;
  const [driver, limits] = [new BubblewrapDriver(options), process.getuid?.() === 0];
  sandboxContract({ driver, options: () => options, outlivesOwner: false, groups: ['v1'], limits, disk: false });
});

describe('bubblewrap without control groups', () => {
  const options = { controlGroups: 'none' } as const;
  sandboxContract({
    driver: new BubblewrapDriver(options),
    options: () => options,
    outlivesOwner: false,
    limits: false,
  });
});

describe('the probe', () => {
  it('makes a real sandbox and leaves nothing', async () => {
    expect(await new BubblewrapDriver().probe()).toMatchObject({ available: true });
  });
});
