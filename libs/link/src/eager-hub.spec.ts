import { envelopeMessage, payloadOf, TestHub, until } from '../test/peers.js';

test('a hub may send any number of messages right behind its welcome, as it does with open commands', async () => {
  const most = 100;
  const send = (link: TestHub['links'][number]): void => {
    link.start();
    for (let count = 0; count < most; count += 1)
      void link.send('commands', envelopeMessage(Uint8Array.of(count))).catch(() => undefined);
  };
  const received: number[] = [];
  await using hub = await TestHub.start({ onLink: send });
  await using spoke = hub.spoke({
    onLink: (link) => {
      link.onMessage = (_lane, message) => received.push(payloadOf(message)[0] ?? -1);
      link.start();
    },
  });
  await until(() => received.length === most);
  expect(received).toEqual(Array.from({ length: most }, (_, at) => at));
  expect(spoke.waits).toEqual([]);
});
