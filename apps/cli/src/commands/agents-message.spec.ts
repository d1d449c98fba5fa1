import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { json } from 'node:stream/consumers';
import { Output } from '../output/output.js';
import { message } from './agents-message.js';

describe('capstan agents message', () => {
  const directory = mkdtempSync(join(tmpdir(), 'capstan-message-'));
  afterAll(() => {
    rmSync(directory, { recursive: true, force: true });
  });

  const send = (id: string, text = 'Hello', input?: Readable): Promise<void> => {
    const nothing = { write: () => true };
    const output = new Output({ isJson: true, streams: { out: nothing, err: nothing } });
    return message(output, directory, id, text, input);
  };

  it('names no path by an id that is none', async () => {
    await expect(send('../queue/pause')).rejects.toMatchObject({ code: 'id-malformed' });
  });

  it('says that nobody answers where no orchestrator is', async () => {
    await expect(send('agent-1')).rejects.toMatchObject({ code: 'orchestrator-away' });
  });

  it.each([
    ['Hello', 'Hello'],
    ['-', 'Not for\nthe history'],
  ])('sends what stands behind %j', async (argument, sent) => {
    for (const room of ['tokens', 'run']) mkdirSync(join(directory, room), { recursive: true });
    writeFileSync(join(directory, 'tokens', 'orchestrator.token'), 'token');
    const got: unknown[] = [];
    const server = createServer((request, response) => {
      void json(request).then((body) => {
        got.push([request.url, body]);
        response.end(JSON.stringify({ messageId: 'one' }));
      });
    }).listen(join(directory, 'run', 'orchestrator.sock'));
    try {
      await once(server, 'listening');
      await send('agent-1', argument, Readable.from(['Not for\n', 'the history\n']));
    } finally {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    }
    expect(got).toEqual([['/agents/agent-1/messages', { text: sent }]]);
  });
});
