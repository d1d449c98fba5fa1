import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { askDesk } from './submit-desk.js';
import { submitTool } from './submit.js';

jest.setTimeout(60_000);

describe('the desk where an agent submits', () => {
  let directory: string;
  let socket: string;
  let server: Server | undefined;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'capstan-desk-'));
    socket = join(directory, 'submit.sock');
  });
  afterEach(async () => {
    await close();
    rmSync(directory, { recursive: true });
  });

  const open = async (listener: RequestListener): Promise<void> => {
    server = createServer(listener).listen(socket);
    await once(server, 'listening');
  };
  const close = async (): Promise<void> => {
    const closing = server;
    server = undefined;
    if (closing === undefined) return;
    closing.closeAllConnections();
    closing.close();
    await once(closing, 'close');
  };
  const accept: RequestListener = (_, response) => void response.end(JSON.stringify({ accepted: true, text: '' }));
  const ask = (signal = new AbortController().signal) => askDesk(socket, { summary: 'Done' }, signal);

  it('takes a summary from the tool, and nothing else for one', async () => {
    const told: unknown[] = [];
    await open((request, response) => {
      void text(request).then((body) => {
        told.push(JSON.parse(body));
        accept(request, response);
      });
    });
    const submit = (summary: string) => submitTool(socket).run({ summary }, new AbortController().signal);
    expect(await submit(' Done ')).toEqual({ text: 'submitted', isError: false, summary: 'Done' });
    expect((await submit(' ')).isError).toBe(true);
    expect(told).toEqual([{ summary: 'Done' }]);
  });

  it('is asked until it is there: an instance that restarts finds its agent still waiting', async () => {
    let isAnswered = false;
    const asked = ask().then((answer) => {
      isAnswered = true;
      return answer;
    });
    // An attempt of our own says that nobody is there yet.
    await expect(once(connect(socket), 'connect')).rejects.toMatchObject({ code: 'ENOENT' });
    expect(isAnswered).toBe(false);
    await open(accept);
    expect(await asked).toMatchObject({ accepted: true });
  });

  it('is asked again where it went away in the middle of its judgement, or of its answer', async () => {
    let count = 0;
    await open((request, response) => {
      count += 1;
      if (count === 1) request.socket.destroy();
      else if (count === 2) response.writeHead(200, { 'content-length': 100 }).write('{"acc', () => response.destroy());
      else response.end(JSON.stringify({ accepted: false, text: 'a secret', mendable: true, onto: 'abc' }));
    });
    expect(await ask()).toEqual({ accepted: false, text: 'a secret', mendable: true, onto: 'abc' });
    expect(count).toBe(3);
  });

  it('is not waited for any longer than the agent’s own time', async () => {
    const over = new AbortController();
    const asked = ask(over.signal);
    over.abort();
    await expect(asked).rejects.toMatchObject({ name: 'AbortError' });
  });
});
