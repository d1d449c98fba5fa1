import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import {
  agentView,
  type AgentView,
  CommandSchema,
  create,
  AgentSnapshotSchema,
  AgentState,
  decodeEnvelope,
  decodeStrict,
  fromBase64,
} from '@capstan/protocol';

export interface StandInLine {
  sequence: number;
  at: string;
  source: string;
  text: string;
}

export function standInLine(sequence: number, text = 'hello'): StandInLine {
  return { sequence, at: '2026-01-01T00:00:00.000Z', source: 'agent', text };
}

const HELLO = [standInLine(1)];

/**
 * Answers as the orchestrator does where a test must decide what it says and when; it runs nothing. Tests of the whole
 * mesh use the real one.
 */
export class StandInOrchestrator implements AsyncDisposable {
  readonly agents = new Map<string, AgentView>();
  /** Every spawn that was offered, by agent. */
  readonly offered: string[] = [];
  /** The hub's admission that came with a spawn of somebody else, by agent. */
  readonly admissions = new Map<string, string>();
  /** What was handed over with a spawn, by agent. */
  readonly secrets = new Map<string, { name: string; value: string }[]>();
  /** Agents whose secrets it says it has lost. */
  wanted: string[] = [];
  readonly noticed: string[] = [];
  /** As `GET /sandboxes` tells them. */
  sandboxes: unknown = [{ name: 'bubblewrap', available: true }];
  /** How often it was told of a kill-all. */
  noticedKillAlls = 0;
  /** What each agent's log holds; one line where nothing is said of it. */
  readonly logs = new Map<string, StandInLine[]>();
  /** Set to answer spawns otherwise; called before or after the agent was made. */
  beforeSpawn: (response: ServerResponse) => boolean | Promise<boolean> = () => true;
  afterSpawn: (response: ServerResponse) => boolean | Promise<boolean> = () => true;
  /** Changes up to here are forgotten. */
  forgottenThrough = 0;
  private readonly changes: { id: string; kind: string; about: object }[] = [];
  private readonly readers = new Set<ServerResponse>();
  private readonly server = createServer((request, response) => void this.route(request, response));

  constructor(
    private readonly socket: string,
    private readonly token: string,
  ) {}

  async start(): Promise<void> {
    this.server.listen(this.socket);
    await once(this.server, 'listening');
  }

  /** Forgets all changes so far, as the orchestrator does with old ones. */
  forgetChanges(): void {
    this.forgottenThrough = this.changes.length;
  }

  /** Moves an agent on, and tells it. */
  change(agentId: string, change: Partial<AgentView>): void {
    const before = this.agents.get(agentId);
    if (before === undefined) throw new Error(`no agent ${agentId}`);
    const view = { ...before, ...change, revision: before.revision + 1 };
    this.agents.set(agentId, view);
    this.tell(view);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.server.closeAllConnections();
    if (!this.server.listening) return;
    this.server.close();
    await once(this.server, 'close');
  }

  /** Says that an agent has stalled, or goes on. */
  stall(notice: object): void {
    this.tell(notice, 'stall');
  }

  private tell(about: object, kind: 'agent' | 'stall' = 'agent'): void {
    const change = { id: `${String(this.changes.length + 1)}-0`, kind, about };
    this.changes.push(change);
    for (const reader of this.readers) reader.write(text(change));
  }

  private async route(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.headers.authorization !== `Bearer ${this.token}`) return problem(response, 401, 'unauthorized');
    const url = new URL(request.url ?? '', 'http://orchestrator');
    const [, , id = ''] = url.pathname.split('/');
    if (url.pathname === '/commands') return this.spawn(request, response);
    if (url.pathname === '/agents') return this.list(url.searchParams, response);
    if (url.pathname === '/agents/events') return this.events(url.searchParams.get('after') ?? '0', response);
    if (url.pathname === '/sandboxes') return json(response, 200, this.sandboxes);
    if (url.pathname === '/secrets/wanted') return json(response, 200, { agentIds: this.wanted });
    if (url.pathname === '/agents/noticed-kill-all') {
      this.noticedKillAlls += 1;
      return json(response, 204, undefined);
    }
    if (url.pathname.endsWith('/noticed-kill')) {
      this.noticed.push(id);
      return json(response, 200, { agent: null });
    }
    const agent = this.agents.get(id);
    if (agent === undefined) return problem(response, 404, 'agent-unknown');
    if (url.pathname.endsWith('/status')) return json(response, 200, agent);
    return this.page(id, url.searchParams, response);
  }

  private async spawn(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const parts: Buffer[] = [];
    for await (const part of request as AsyncIterable<Buffer>) parts.push(part);
    const order = JSON.parse(Buffer.concat(parts).toString()) as Order;
    const { body } = decodeStrict(CommandSchema, decodeEnvelope(fromBase64(order.envelope)).payload);
    if (body.case !== 'spawn') return problem(response, 400, 'payload-malformed');
    const { agentId, taskId, runtime } = body.value;
    this.offered.push(agentId);
    if (order.admission !== undefined) this.admissions.set(agentId, order.admission);
    if (order.secrets !== undefined) this.secrets.set(agentId, order.secrets);
    if (!(await this.beforeSpawn(response))) return;
    if (!this.agents.has(agentId)) {
      const state = AgentState.QUEUED;
      const queuedAtMs = BigInt(Date.now());
      const view = agentView(
        create(AgentSnapshotSchema, { agentId, taskId, runtime, state, queuedAtMs, revision: 1n }),
      );
      this.agents.set(agentId, view);
      this.tell(view);
    }
    if (await this.afterSpawn(response)) json(response, 202, this.agents.get(agentId));
  }

  private list(search: URLSearchParams, response: ServerResponse): void {
    const all = [...this.agents.values()].reverse();
    const from = all.findIndex(({ agentId }) => agentId === search.get('after')) + 1;
    json(response, 200, all.slice(from, from + Number(search.get('limit') ?? 1_000)));
  }

  /** As the orchestrator does: waits for a line where it is told to. */
  private page(id: string, search: URLSearchParams, response: ServerResponse): void {
    const [after, limit] = [Number(search.get('after')), Number(search.get('limit') ?? 500)];
    const log = this.logs.get(id) ?? HELLO;
    let bytes = 0;
    const most = Number(search.get('mostBytes') ?? Infinity);
    const isWithin = ({ text }: StandInLine): boolean =>
      (bytes += text.length + 90) <= most || bytes === text.length + 90;
    const lines = log.filter((line) => line.sequence > after && isWithin(line)).slice(0, limit);
    const waitMs = Number(search.get('waitMs') ?? 0);
    if (lines.length === 0 && waitMs > 0 && !response.destroyed) {
      search.set('waitMs', String(waitMs - 20));
      setTimeout(() => this.page(id, search, response), 20);
      return;
    }
    const first = log[0]?.sequence ?? after + 1;
    json(response, 200, { lines, next: lines.at(-1)?.sequence ?? after, gap: first > after + 1 });
  }

  private events(after: string, response: ServerResponse): void {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(': open\n\n');
    const from = Number(after.split('-')[0]);
    if (from < this.forgottenThrough) response.write('event: gap\ndata: {}\n\n');
    for (const change of this.changes.slice(Math.max(from, this.forgottenThrough))) response.write(text(change));
    this.readers.add(response);
    response.on('close', () => this.readers.delete(response));
  }
}

interface Order {
  envelope: string;
  admission?: string;
  secrets?: { name: string; value: string }[];
}

export function problem(response: ServerResponse, status: number, code: string): void {
  json(response, status, { type: 'about:blank', title: code, status, code });
}

function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

function text({ id, kind, about }: { id: string; kind: string; about: object }): string {
  return `id: ${id}\nevent: ${kind}\ndata: ${JSON.stringify(about)}\n\n`;
}
