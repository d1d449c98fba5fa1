import { once } from 'node:events';
import { Agent, createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
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
