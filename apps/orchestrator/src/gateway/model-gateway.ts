import { chmod, chown, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { once } from 'node:events';
import type { Logger } from '@capstan/platform';
import { AgentDesk } from './agent-desk.js';
import type { GatewayOrder } from './gateway-order.js';
import { Meter, type Usage } from './meter.js';
import type { ModelProvider } from './provider.js';

/** The way of one agent to its model. */
export interface GatewaySession {
  usage(): Usage;
  /** Ends what runs and removes the socket; may be repeated. */
  close(): Promise<void>;
}

const MOST_CONNECTIONS = 32;

/** Opens the Messages API on a unix socket for each agent. */
export class ModelGateway {
  constructor(private readonly parts: { provider: ModelProvider; log: Logger }) {}

  /** Resolves once the agent can connect. @throws Error where the socket cannot be made */
  async open(order: GatewayOrder): Promise<GatewaySession> {
    const meter = new Meter(order.budgetMicroUsd);
    const desk = new AgentDesk(order, meter, this.parts.provider, this.parts.log);
    const server = createServer(
      { headersTimeout: 10_000, requestTimeout: 60_000, maxHeaderSize: 16 * 1024 },
      (request, response) => {
        void desk.serve(request, response);
      },
    );
    server.maxConnections = MOST_CONNECTIONS;
    const { socketPath, gid } = order;
    await rm(socketPath, { force: true });
    server.listen(socketPath);
    try {
      await once(server, 'listening');
      await giveSocket(socketPath, gid);
    } catch (error) {
      server.close();
      throw error;
    }
    return { usage: () => meter.usage(), close: () => close(server, desk, socketPath) };
  }
}

/** To connect is to write. */
async function giveSocket(path: string, gid: number): Promise<void> {
  if (process.getuid?.() === 0) await chown(path, 0, gid);
  await chmod(path, 0o660);
}

async function close(server: Server, desk: AgentDesk, socketPath: string): Promise<void> {
  desk.close();
  if (server.listening) {
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  }
  await desk.settled();
  await rm(socketPath, { force: true });
}
