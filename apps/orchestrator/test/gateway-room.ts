import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { request, type IncomingMessage } from 'node:http';
import { connect, createServer as createTcpServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import Anthropic from '@anthropic-ai/sdk';
import { createLogger } from '@capstan/platform';
import { agentId, taskId, tenantId } from '@capstan/protocol';
import {
  createProvider,
  ModelGateway,
  type GatewayOrder,
  type GatewaySession,
  type BudgetCode,
  type GatewayParts,
  type ProviderSettings,
  type RetryClock,
  type Usage,
} from '../src/gateway/index.js';

/** The key that must never reach an agent. */
export const SECRET_KEY = 'sk-ant-test-0123456789-never-inside';

const IMPATIENT: RetryClock = { random: () => 0, wait: () => Promise.resolve() };

/** A gateway for one agent, with a TCP port before it so that the real SDK can speak to it; gone at the end of its scope. */
export class GatewayRoom implements AsyncDisposable {
  private constructor(
    private readonly directory: string,
    readonly socketPath: string,
    readonly session: GatewaySession,
    readonly client: Anthropic,
    private readonly stopForwarder: () => Promise<void>,
    /** What the orchestrator was told. */
    readonly told: { usages: Usage[]; budgetAlarms: BudgetCode[] },
  ) {}

  /** @param clock default: no pause is waited for. */
  static async open(
    settings: ProviderSettings,
    order: Partial<GatewayOrder> = {},
    { clock = IMPATIENT, ...parts }: Partial<GatewayParts> & { clock?: RetryClock } = {},
  ): Promise<GatewayRoom> {
    const directory = mkdtempSync(join(tmpdir(), 'capstan-gateway-'));
    const socketPath = join(directory, 'gateway.sock');
    const gateway = new ModelGateway({
      provider: createProvider(settings, clock),
      log: createLogger('gateway', { level: 'silent' }),
      ...parts,
    });
    const told = { usages: [] as Usage[], budgetAlarms: [] as BudgetCode[] };
    const session = await gateway.open({
      agentId: agentId('agent-one'),
      taskId: taskId('task-one'),
      tenant: tenantId('default'),
      socketPath,
      uid: process.getuid?.() ?? 0,
      gid: process.getgid?.() ?? 0,
      budgetMicroUsd: 1_000_000,
      model: '',
      onUsage: (usage) => told.usages.push(usage),
      onBudget: (code) => told.budgetAlarms.push(code),
      ...order,
    });
    const { url, stop } = await forward(socketPath);
    const client = new Anthropic({ baseURL: url, apiKey: 'held-by-the-gateway', maxRetries: 0, logLevel: 'off' });
    return new GatewayRoom(directory, socketPath, session, client, stop, told);
  }

  /** One request as raw as it gets. */
  async send(
    method: string,
    path: string,
    body: string | Buffer,
    headers: Record<string, string> = {},
  ): Promise<{ status: number; body: string }> {
    const sent = request({
      socketPath: this.socketPath,
      method,
      path,
      headers: { 'content-type': 'application/json', ...headers },
    });
    sent.on('error', () => undefined);
    sent.end(body);
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    return { status: response.statusCode ?? 0, body: await text(response) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.session.close();
    await this.stopForwarder();
    rmSync(this.directory, { recursive: true });
  }
}

async function forward(socketPath: string): Promise<{ url: string; stop: () => Promise<void> }> {
  const server = createTcpServer((client) => {
    const gateway = connect(socketPath);
    client.pipe(gateway).pipe(client);
    client.on('error', () => gateway.destroy());
    gateway.on('error', () => client.destroy());
    gateway.on('close', () => client.destroy());
    client.on('close', () => gateway.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const stop = async (): Promise<void> => {
    const closed = once(server, 'close');
    server.close();
    await closed;
  };
  return { url: `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`, stop };
}
