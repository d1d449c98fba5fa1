import { proves } from '../../../test/support/proves.js';
import { linked, TestHub, until } from '../test/peers.js';
import { VERSIONS } from './limits.js';

describe('the version of a link', () => {
  const newest = VERSIONS.at(-1) ?? 0;

  it.each([
    ['two peers of one age', [newest], [newest], newest],
    ['a hub that is one version ahead', [newest, newest + 1], [newest], newest],
    ['a spoke that is one version ahead', [newest], [newest, newest + 1], newest],
    ['two that both speak the next one too', [newest, newest + 1], [newest, newest + 1], newest + 1],
  ])('is the best that both speak: %s', (_who, ofHub, ofSpoke, agreed) =>
    proves('FED-20', async () => {
      await using hub = await TestHub.start({ terms: { versions: ofHub } });
      await using spoke = hub.spoke({ terms: { versions: ofSpoke } });
      const { hubEnd, spokeEnd } = await linked(hub, spoke);
      expect([hubEnd.version, spokeEnd.version]).toEqual([agreed, agreed]);
    })(),
  );

  it(
    'is refused with a code at both ends where none is common',
    proves('FED-20', async () => {
      await using hub = await TestHub.start({ terms: { versions: [newest + 1, newest + 2] } });
      await using spoke = hub.spoke({ terms: { versions: [newest] } });
      expect(await until(() => spoke.waits[0])).toContain('handshake-version');
      expect(hub.refused).toContain('handshake-version');
      expect([hub.links, spoke.links]).toEqual([[], []]);
    }),
  );

  it(
    'is never one that the spoke did not offer',
    proves('FED-20', async () => {
      // A hub that answers with what it likes, signed by the right key.
      const versions = Object.assign([newest + 1], { findLast: () => newest + 1 });
      await using hub = await TestHub.start({ terms: { versions } });
      await using spoke = hub.spoke();
      expect(await until(() => spoke.waits[0])).toContain('handshake-version');
      expect(spoke.links).toEqual([]);
    }),
  );
});
