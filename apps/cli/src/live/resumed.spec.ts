import { HubProblem } from '@capstan/localmesh';
import type { ServerSentEvent } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { resumed } from './resumed.js';

const event = (id: number): ServerSentEvent => ({ id: String(id), event: 'e', data: '' });

describe('a stream that breaks', () => {
  it(
    'goes on behind its last event, and each break is told once',
    proves('FED-17', async () => {
      const asked: (string | undefined)[] = [];
      const stop = new AbortController();
      let breaks = 0;
      const open = async function* (after: string | undefined): AsyncGenerator<ServerSentEvent> {
        asked.push(after);
        const from = Number(after ?? 0);
        if (asked.length === 2) throw new HubProblem(503, 'not-ready', 'Not yet.');
        yield event(from + 1);
        yield event(from + 2);
        if (asked.length === 1) throw new Error('cut');
      };
      const ids: string[] = [];
      const options = { after: undefined, signal: stop.signal, onBreak: () => (breaks += 1) };
      for await (const { id } of resumed(open, options)) {
        ids.push(id);
        if (ids.length === 4) stop.abort();
      }
      expect({ ids, asked, breaks }).toEqual({ ids: ['1', '2', '3', '4'], asked: [undefined, '2', '2'], breaks: 1 });
    }),
  );

  it('is not opened again where the hub refuses, nor where it never began', async () => {
    const options = { after: '7', signal: new AbortController().signal, onBreak: () => undefined };
    const first = resumed(() => never(new Error('away')), options);
    await expect(first.next()).rejects.toThrow('away');
    let count = 0;
    const gone = (): AsyncIterable<ServerSentEvent> =>
      (count += 1) === 1 ? one() : never(new HubProblem(404, 'agent-unknown', 'Gone.'));
    const second = resumed(gone, options);
    await second.next();
    await expect(second.next()).rejects.toMatchObject({ code: 'agent-unknown' });
  });
});

async function* one(): AsyncGenerator<ServerSentEvent> {
  yield event(1);
}

// eslint-disable-next-line require-yield -- a stream that fails before its first event
async function* never(error: Error): AsyncGenerator<ServerSentEvent> {
  throw error;
}
