import { once } from 'node:events';
import { Agent, createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer, request as tlsRequest } from 'node:https';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { makeCertificate } from '../../../../test/support/certificate.js';
import { endConnectionsOnClose } from './drain.js';

describe('a server that closes while its clients are busy', () => {
  let server: Server;
  let agent: Agent;
  /** Answers that wait for the test's word. */
  let asked: PromiseWithResolvers<ServerResponse>;

  beforeEach(async () => {
    // One connection, used again and again, as a client under load has it.
    agent = new Agent({ keepAlive: true, maxSockets: 1 });
    asked = Promise.withResolvers();
    server = createServer((incoming, response) => {
      if (incoming.url === '/held') asked.resolve(response);
      else response.end('at once');
    });
    server.keepAliveTimeout = 600_000;
    endConnectionsOnClose(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  afterEach(() => {
    agent.destroy();
    server.closeAllConnections();
  });

  async function ask(path: string): Promise<IncomingMessage> {
    const sent = request({ agent, path, host: '127.0.0.1', port: (server.address() as AddressInfo).port });
    sent.end();
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    response.resume();
    return response;
  }

  const closed = (): Promise<unknown> => {
    const gone = once(server, 'close');
    server.close();
    return gone;
  };

  it('answers what was asked before, says that it is the last, and ends', async () => {
    const answer = ask('/held');
    const response = await asked.promise;
    const gone = closed();
    response.end('late');
    const { statusCode, headers } = await answer;
    expect({ statusCode, connection: headers.connection }).toEqual({ statusCode: 200, connection: 'close' });
    await gone;
  });

  it('ends also where an answer had begun before', async () => {
    const answer = ask('/held');
    const response = await asked.promise;
    response.write('begun, ');
    expect((await answer).headers.connection).toBe('keep-alive');
    const gone = closed();
    response.end('done');
    await gone;
  });

  it('leaves connections alone while it is open', async () => {
    expect((await ask('/')).headers.connection).toBe('keep-alive');
    expect((await ask('/')).headers.connection).toBe('keep-alive');
    await closed();
  });
});

describe('a server that closes while strangers hold it', () => {
  const strangers: Socket[] = [];
  let server: Server;

  async function start(times: { graceMs: number; mostMs: number }): Promise<PromiseWithResolvers<ServerResponse>> {
    const asked = Promise.withResolvers<ServerResponse>();
    server = createServer((incoming, response) => {
      if (incoming.url === '/held') asked.resolve(response);
    });
    endConnectionsOnClose(server, times);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return asked;
  }

  /** Sends half of something, and waits until the server has it. */
  async function stranger(half: string): Promise<Socket> {
    const accepted = once(server, 'connection') as Promise<[Socket]>;
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
    socket.on('error', () => undefined).resume();
    strangers.push(socket);
    const [own] = await accepted;
    const read = half === '' ? undefined : once(own, 'data');
    socket.write(half);
    await read;
    return socket;
  }

  afterEach(() => {
    for (const socket of strangers.splice(0)) socket.destroy();
    server.closeAllConnections();
  });

  it.each([
    ['half a header', 'POST / HTTP/1.1\r\nhost: hub\r\nx-ha'],
    ['half a body', 'POST / HTTP/1.1\r\nhost: hub\r\ncontent-length: 100\r\n\r\n{"a'],
    ['a connection and nothing over it', ''],
  ])('ends although one has sent %s, and leaves the whole request beside it its answer', async (_what, half) => {
    const asked = await start({ graceMs: 50, mostMs: 600_000 });
    const port = (server.address() as AddressInfo).port;
    const answer = once(request({ path: '/held', host: '127.0.0.1', port }).end(), 'response');
    const response = await asked.promise;
    const socket = await stranger(half);
    const cut = once(socket, 'close');
    const gone = once(server, 'close');
    server.close();
    await cut;
    response.end('late');
    const [{ statusCode }] = (await answer) as [IncomingMessage];
    expect(statusCode).toBe(200);
    await gone;
  });

  it('ends under TLS too, where one has not even begun its handshake, and leaves the whole request its answer', async () => {
    const asked = Promise.withResolvers<ServerResponse>();
    server = createTlsServer(await makeCertificate(), (_request, response) => asked.resolve(response));
    endConnectionsOnClose(server, { graceMs: 50, mostMs: 600_000 });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const port = (server.address() as AddressInfo).port;
    const answer = once(tlsRequest({ host: '127.0.0.1', port, rejectUnauthorized: false }).end(), 'response');
    const response = await asked.promise;
    const socket = await stranger('');
    const cut = once(socket, 'close');
    const gone = once(server, 'close');
    server.close();
    await cut;
    response.end('late');
    const [{ statusCode }] = (await answer) as [IncomingMessage];
    expect(statusCode).toBe(200);
    await gone;
  });

  it('ends although a request is never answered', async () => {
    const asked = await start({ graceMs: 10, mostMs: 50 });
    await stranger('GET /held HTTP/1.1\r\nhost: hub\r\n\r\n');
    await asked.promise;
    const gone = once(server, 'close');
    server.close();
    await gone;
  });
});
