import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { HubClient, HubProblem } from './hub-client.js';

describe("the hub's client", () => {
  let server: Server;
  let url: string;
  let answer: { status: number; body: string };
  let asked: { method: string | undefined; url: string | undefined; token: string | undefined }[];

  beforeEach(async () => {
    asked = [];
    server = createServer((request, response) => {
      asked.push({ method: request.method, url: request.url, token: request.headers.authorization });
      response.writeHead(answer.status).end(answer.body);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    url = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`;
  });
  afterEach(() => {
    server.close();
    server.closeAllConnections();
  });

  it('sends the token, and ids as ids and never as paths', async () => {
    answer = { status: 200, body: '{}' };
    await new HubClient(url, 'secret').agent('../connections');
    expect(asked).toEqual([
      { method: 'GET', url: '/api/v1/federation/agents/..%2Fconnections', token: 'Bearer secret' },
    ]);
  });

  it('turns a problem document into a fault with code, sentence and fields, without control characters', async () => {
    const errors = [{ field: 'instance', message: 'must be a string' }];
    answer = {
      status: 404,
      body: JSON.stringify({ code: 'instance-unknown', detail: 'No \u001b[31msuch instance.', errors }),
    };
    const fault = await new HubClient(url, 't').connections().catch((error: unknown) => error);
    expect(fault).toBeInstanceOf(HubProblem);
    expect(fault).toMatchObject({ status: 404, code: 'instance-unknown', sentence: 'No [31msuch instance.', errors });
  });

  it.each(['', '<html>', 'null', '[]'])('survives a failure that is no problem document: %j', async (body) => {
    answer = { status: 502, body };
    await expect(new HubClient(url, 't').connections()).rejects.toMatchObject({ status: 502, code: 'internal' });
  });

  it('says so where nobody answers', async () => {
    await expect(new HubClient('http://127.0.0.1:9', 't').connections()).rejects.toMatchObject({
      code: 'hub-unreachable',
    });
    expect(await new HubClient('http://127.0.0.1:9', 't').isReady()).toBe(false);
  });
});
