import { proves } from '../../../test/support/proves.js';
import { TestHub, until } from '../test/peers.js';

describe('a spoke that knows several addresses of its hub', () => {
  it(
    'dials them in turn until one lets it in, and goes on to the next when that link has ended',
    proves('FED-19', async () => {
      await using hub = await TestHub.start();
      // Nobody listens at the discard port.
      const nowhere = 'ws://127.0.0.1:9/federation/link';
      await using spoke = hub.spoke({ url: nowhere, moreUrls: [hub.url], backoff: { minMs: 1, maxMs: 10 } });
      const first = await until(() => spoke.links[0]);
      expect(spoke.waits).not.toEqual([]);
      const waits = spoke.waits.length;
      await first.close('closed', 'it goes');
      await until(() => spoke.links[1]);
      // Between the two it has tried the other address.
      expect(spoke.waits.length).toBeGreaterThanOrEqual(waits + 2);
    }),
  );
});
