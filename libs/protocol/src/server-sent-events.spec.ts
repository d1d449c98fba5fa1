import { type ServerSentEvent, serverSentEvents } from './server-sent-events.js';

async function read(...chunks: string[]): Promise<ServerSentEvent[]> {
  const source = (async function* () {
    for (const chunk of chunks) yield Buffer.from(chunk, 'latin1');
  })();
  const events: ServerSentEvent[] = [];
  for await (const event of serverSentEvents(source)) events.push(event);
  return events;
}

describe('an event stream', () => {
  it('is read whatever pieces it comes in', async () => {
    const text =
      ': open\n\nid: 1-0\nevent: agent\ndata: {"a":1}\n\n:alive\n\nid: 2-0\r\nevent: agent\r\ndata: one\r\ndata: two\r\n\r\n';
    const want = [
      { id: '1-0', event: 'agent', data: '{"a":1}' },
      { id: '2-0', event: 'agent', data: 'one\ntwo' },
    ];
    expect(await read(text)).toEqual(want);
    expect(await read(...Array.from(text))).toEqual(want);
  });

  it('gives no event that was cut off', async () => {
    expect(await read('id: 1-0\ndata: half')).toEqual([]);
  });

  it('keeps characters whole that are cut between two pieces', async () => {
    const bytes = Buffer.from('data: ä\n\n').toString('latin1');
    expect(await read(bytes.slice(0, 7), bytes.slice(7))).toMatchObject([{ data: 'ä' }]);
  });

  it('ends where an event has no end', async () => {
    await expect(read('data: ', 'x'.repeat(5_000_000))).rejects.toThrow(RangeError);
  });
});
