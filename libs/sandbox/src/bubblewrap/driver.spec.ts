import { sandboxContract } from '../sandbox.contract.js';
import { BubblewrapDriver } from './driver.js';

describe('bubblewrap with the best control groups of this host', () => {
  sandboxContract({ driver: new BubblewrapDriver(), limits: process.getuid?.() === 0 });
});

describe('bubblewrap with the v1 freezer', () => {
  sandboxContract({ driver: new BubblewrapDriver({ controlGroups: 'v1' }), limits: process.getuid?.() === 0 });
});

describe('bubblewrap without control groups', () => {
  sandboxContract({ driver: new BubblewrapDriver({ controlGroups: 'none' }), limits: false });
});

describe('the probe', () => {
  it('makes a real sandbox and leaves nothing', async () => {
    expect(await new BubblewrapDriver().probe()).toMatchObject({ available: true });
  });
});
