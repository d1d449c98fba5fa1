import { randomBytes } from 'node:crypto';
import { proves } from '../../../test/support/proves.js';
import { envelopeMessage, linked, Path, TestHub } from '../test/peers.js';

describe('the kill lane', () => {
  it(
    'does not wait for a window that a peer has let fill up',
    proves('FED-04', async () => {
      await using hub = await TestHub.start({ limits: { deadAfterMs: 15_000 } });
      await using path = await Path.to(hub);
      await using spoke = hub.spoke({ url: path.url });
      const { hubEnd, spokeEnd } = await linked(hub, spoke);
      hubEnd.start();
      spokeEnd.start();
      path.freeze();
      const others = Array.from({ length: 10 }, () => hubEnd.send('commands', envelopeMessage(randomBytes(60_000))));
      for (const other of others) other.catch(() => undefined);
      // 60 of 64 KiB are taken: this would not fit.
      await hubEnd.send('kill', envelopeMessage(randomBytes(16_000)));
      expect(hubEnd.stats.waitingMessages).toBe(9);
    }),
  );
});
