import { MemoryLinks } from '@capstan/link';
import { HeartbeatContents } from './heartbeat-contents.js';

test('each room fills its fields; one that fails leaves only its own out, and one that cannot read disturbs no other', () => {
  const contents = new HeartbeatContents();
  const treeHead = new Uint8Array([1]);
  contents.register((instanceId, { sessionEpoch }) => ({
    revocationEpoch: 7n,
    leaseRenewal: Buffer.from(`${instanceId} ${String(sessionEpoch)}`),
  }));
  contents.register(() => {
    throw new Error('no epochs today');
  });
  contents.register(() => ({ treeHead }));
  const { hubEnd } = new MemoryLinks({ instanceId: 'harbor' }).connect();
  const content = contents.content(hubEnd);
  expect(content).toMatchObject({ revocationEpoch: 7n, killEpochs: [], treeHead });
  expect(Buffer.from(content.leaseRenewal ?? []).toString()).toBe('harbor 1');

  const heard: [string, bigint][] = [];
  contents.onReceived(() => {
    throw new Error('unreadable');
  });
  contents.onReceived((link, { revocationEpoch }) => heard.push([link.peerId, revocationEpoch]));
  contents.received(hubEnd, { sentAtMs: 1, revocationEpoch: 6n, killEpochs: [] });
  expect(heard).toEqual([['harbor', 6n]]);
});
