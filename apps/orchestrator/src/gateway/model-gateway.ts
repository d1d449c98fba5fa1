import { chmod, chown, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { once } from 'node:events';
import type { Logger } from '@capstan/platform';
import { AgentBudget } from './agent-budget.js';
import { AgentDesk } from './agent-desk.js';
import { BytePool } from './byte-pool.js';
import { FreeCalls } from './free-calls.js';
import type { GatewayOrder, GatewayRules } from './gateway-order.js';
import { Meter, type Usage } from './meter.js';
import type { ModelProvider } from './provider.js';
import { RequestLog } from './request-log.js';
import type { SpendLedger } from './spend-ledger.js';

/** The way of one agent to its model. */
export interface GatewaySession {
  usage(): Usage;
  /** Why the last request got no whole reply, where the model was the reason; undefined where it did. */
  outage(): string | undefined;
  /** Ends what runs and removes the socket; may be repeated. */
  close(): Promise<void>;
}

export interface GatewayParts {
  provider: ModelProvider;
  log: Logger;
  /** Answers agents of these roles instead. */
  scripted?: { provider: ModelProvider; roles: readonly string[] };
  /** What tasks and tenants have spent; without it only the agent's own budget holds. */
  ledger?: SpendLedger;
  /** Read before each request. Default: no shared budget, no model without a price. */
  rules?: () => Promise<GatewayRules>;
  /** How long an agent may read nothing of a reply that is there, milliseconds. */
  stallMs?: number;
  /** Monotonic, milliseconds. */
  now?: () => number;
}

const MOST_CONNECTIONS = 32;
/** Memory for requests: of all agents, and of one. */
const POOL_BYTES = 256 * 1024 * 1024;
const AGENT_BYTES = 32 * 1024 * 1024;
const STALL_MS = 60_000;

/** Opens the Messages API on a unix socket for each agent. */
export class ModelGateway {
  private readonly memory = new BytePool(POOL_BYTES);

  constructor(private readonly parts: GatewayParts) {}

  /** Resolves once the agent can connect. @throws Error where the socket cannot be made */
  async open(order: GatewayOrder): Promise<GatewaySession> {
    const { log, ledger, rules = noRules, stallMs = STALL_MS, now = monotonic } = this.parts;
    const provider = this.providerOf(order);
    const meter = new Meter(order.budgetMicroUsd, order.before);
    const desk = new AgentDesk({
      order,
      meter,
      budget: new AgentBudget(order, meter, ledger),
      provider,
      rules,
      memory: new BytePool(AGENT_BYTES, this.memory),
      freeCalls: new FreeCalls(now),
      log: new RequestLog(order, log),
      stallMs,
    });
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
    return { usage: () => meter.usage(), outage: () => desk.outage, close: () => close(server, desk, socketPath) };
  }

  private providerOf({ role = '' }: GatewayOrder): ModelProvider {
    const { provider, scripted } = this.parts;
    return scripted?.roles.includes(role) === true ? scripted.provider : provider;
  }
}

const monotonic = (): number => performance.now();
const noRules = (): Promise<GatewayRules> => Promise.resolve({});

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
