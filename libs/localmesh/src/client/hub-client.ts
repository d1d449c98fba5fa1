import { type Fetch, pinnedFetch } from '@capstan/identity';
import { type CatalogView, LocalFault, type ServerSentEvent, serverSentEvents, stripControl } from '@capstan/protocol';
import type {
  AgentPageView,
  AuditHeadView,
  AuditPageView,
  CommandAccepted,
  CommandView,
  ConnectionVerb,
  ConnectionView,
  HubAgentView,
  HubInstanceView,
  HubKeyView,
  Invitation,
  KeptHeadView,
  KeyStatementView,
  KillAllLine,
  KillAllTotals,
  KillAnswer,
  LogPageView,
  OperatorView,
  ProbeView,
  RearmLine,
  ReceiptView,
  ScopeBody,
  SpawnBody,
  TokenView,
} from './hub-types.js';

/** Longer than any wait that the hub itself offers. */
const REQUEST_MS = 45_000;

/** A problem document of the hub: a stable code and a sentence. */
export class HubProblem extends Error {
  override readonly name = 'HubProblem';

  constructor(
    readonly status: number,
    readonly code: string,
    readonly sentence: string,
    readonly errors: readonly { field: string; message: string }[] = [],
  ) {
    super(`${sentence} (${code})`);
  }
}

/** The hub's HTTP API, typed. Every method throws HubProblem, or LocalFault `hub-unreachable`, `tls-pin-mismatch`. */
export class HubClient {
  private readonly fetch: Fetch;

  /** @param tlsPin of the hub's TLS key (see `spkiPin`); without it a public CA must vouch for an https address */
  constructor(
    readonly url: string,
    private readonly token: string,
    tlsPin?: string,
  ) {
    this.fetch = pinnedFetch(tlsPin);
  }

  instance(): Promise<HubInstanceView> {
    return this.get('federation/instance');
  }
  /** Another key for the hub. */
  rotateKey(body: { overlapMs?: number } = {}): Promise<HubKeyView> {
    return this.post('federation/instance/rotate-key', body);
  }
  /** Statements by which keys were replaced, oldest first. */
  keyStatements(): Promise<KeyStatementView[]> {
    return this.get('federation/key-statements');
  }
  connections(): Promise<ConnectionView[]> {
    return this.get('federation/connections');
  }
  invite(body: { autoApprove?: boolean; ttlSeconds?: number; displayName?: string } = {}): Promise<Invitation> {
    return this.post('federation/enrollments', body);
  }
  /** Moves a connection to another state. */
  moveConnection(connectionId: string, verb: ConnectionVerb, body: { reason?: string } = {}): Promise<ConnectionView> {
    return this.post(`federation/connections/${encodeURIComponent(connectionId)}/${verb}`, body);
  }
  spawn(body: SpawnBody): Promise<CommandAccepted> {
    return this.post('federation/agents/spawn', body);
  }
  /** @param waitMs how long the hub may wait for the first receipt or the end, at most 30 s. */
  command(id: string, waitMs = 0): Promise<CommandView> {
    return this.get(`federation/commands/${encodeURIComponent(id)}`, { waitMs });
  }
  agents(): Promise<HubAgentView[]> {
    return this.get('federation/agents');
  }
  agent(id: string): Promise<HubAgentView & { receipts: ReceiptView[] }> {
    return this.get(`federation/agents/${encodeURIComponent(id)}`);
  }
  /** Asks the instance itself: a signed command and its verified receipt. */
  status(id: string): Promise<{ agent: HubAgentView; receipt: ReceiptView }> {
    return this.get(`federation/agents/${encodeURIComponent(id)}/status`);
  }
  kill(id: string, body: { reason?: string; instance?: string; waitMs?: number } = {}): Promise<KillAnswer> {
    return this.post(`federation/agents/${encodeURIComponent(id)}/kill`, body);
  }
  logs(id: string, page: { after?: number; limit?: number } = {}): Promise<LogPageView> {
    return this.get(`federation/agents/${encodeURIComponent(id)}/logs`, page);
  }
  /** Kills every agent of a scope. `onLine` is called as each instance answers. */
  async killAll(body: ScopeBody, onLine: (line: KillAllLine) => void = () => undefined): Promise<KillAllTotals> {
    const lines = this.lines('federation/agents/kill-all', body);
    for await (const line of lines) {
      if (line['totals'] !== undefined) return line['totals'] as KillAllTotals;
      onLine(line as unknown as KillAllLine);
    }
    throw this.unreachable(new Error('the answer ended too early'));
  }
  rearm(body: ScopeBody): Promise<{ instances: RearmLine[] }> {
    return this.post('federation/agents/rearm', body);
  }
  /** Routes a command that an operator has signed. @param envelope base64 */
  route(envelope: string): Promise<CommandAccepted> {
    return this.post('federation/commands', { envelope });
  }
  operators(): Promise<OperatorView[]> {
    return this.get('federation/operators');
  }
  /** Pins an operator's key; `signature` proves possession of it. */
  addOperator(body: { id: string; displayName?: string; publicKey: string; signature: string }): Promise<OperatorView> {
    return this.post('federation/operators', body);
  }
  revokeOperator(id: string): Promise<OperatorView> {
    return this.request('DELETE', `federation/operators/${encodeURIComponent(id)}`);
  }
  /** Proves now that a kill would reach an instance. */
  probe(instance: string): Promise<ProbeView> {
    return this.post(`federation/connections/${encodeURIComponent(instance)}/probe`, {});
  }
  /** A token for another admin; it is told once. */
  makeToken(name: string): Promise<TokenView & { token: string }> {
    return this.post('auth/tokens', { name });
  }
  tokens(): Promise<TokenView[]> {
    return this.get('auth/tokens');
  }
  /** It opens nothing from now on. */
  async revokeToken(name: string): Promise<void> {
    await this.request('DELETE', `auth/tokens/${encodeURIComponent(name)}`);
  }
  /** What the instance signed when it enrolled: base64 of the envelope. */
  enrollment(connectionId: string): Promise<{ enrollment: string }> {
    return this.get(`federation/connections/${encodeURIComponent(connectionId)}/enrollment`);
  }
  /** What the instance offers, asked now. */
  catalog(connectionId: string): Promise<CatalogView> {
    return this.get(`federation/connections/${encodeURIComponent(connectionId)}/catalog`);
  }
  /** The instance's agents, asked now. */
  agentPage(connectionId: string, page: { after?: string; limit?: number } = {}): Promise<AgentPageView> {
    return this.get(`federation/connections/${encodeURIComponent(connectionId)}/agents`, page);
  }
  /** What happens at the hub, from behind a cursor on; without one, from now on. Ends or throws where the stream breaks. */
  events(after: string | undefined, signal: AbortSignal): AsyncGenerator<ServerSentEvent> {
    return this.stream('federation/events', after, signal);
  }
  /** An agent's log as it grows, from behind a line on. Ends or throws where the stream breaks. */
  logStream(agentId: string, after: string | undefined, signal: AbortSignal): AsyncGenerator<ServerSentEvent> {
    return this.stream(`federation/agents/${encodeURIComponent(agentId)}/logs/stream`, after, signal);
  }
  /** The hub's own record, oldest first: entries after a sequence. */
  audit(page: { after?: number; limit?: number } = {}): Promise<AuditPageView> {
    return this.get('audit', page);
  }
  /** The head over the whole record, signed now. */
  auditHead(): Promise<AuditHeadView> {
    return this.get('audit/head');
  }
  /** The compact range over the first entries: hashes in hex, as of all proofs. */
  auditCompactRange(size: number): Promise<{ hashes: string[] }> {
    return this.get('audit/proof/compact-range', { size: String(size) });
  }
  auditConsistency(from: number, to: number): Promise<{ hashes: string[] }> {
    return this.get('audit/proof/consistency', { from: String(from), to: String(to) });
  }
  /** The heads of an instance's own log that the hub keeps. */
  auditHeads(instance: string): Promise<{ heads: KeptHeadView[] }> {
    return this.get(`audit/heads/${encodeURIComponent(instance)}`);
  }
  /** Takes the instance's log as it is now; the hub forgets the heads that it kept. */
  async acceptLog(instance: string): Promise<void> {
    await this.request('DELETE', `audit/heads/${encodeURIComponent(instance)}`);
  }
  /** True where every part that the hub needs answers. */
  async isReady(): Promise<boolean> {
    try {
      return (await this.fetch(new URL('/health/ready', this.url), { signal: AbortSignal.timeout(2000) })).ok;
    } catch {
      return false;
    }
  }

  private get<T>(path: string, query: Record<string, string | number | undefined> = {}): Promise<T> {
    const asked = Object.entries(query).filter(([, value]) => value !== undefined && value !== 0);
    const search = new URLSearchParams(
      Object.fromEntries(asked.map(([name, value]) => [name, String(value)])),
    ).toString();
    return this.request('GET', search === '' ? path : `${path}?${search}`);
  }

  private async *stream(path: string, after: string | undefined, signal: AbortSignal): AsyncGenerator<ServerSentEvent> {
    const left = new AbortController();
    const headers = {
      authorization: `Bearer ${this.token}`,
      accept: 'text/event-stream',
      ...(after === undefined ? {} : { 'last-event-id': after }),
    };
    try {
      const asked = { headers, signal: AbortSignal.any([signal, left.signal]) };
      const response = await this.fetch(new URL(`/api/v1/${path}`, this.url), asked).catch((cause: unknown) => {
        throw this.unreachable(cause);
      });
      if (!response.ok || response.body === null) throw problemOf(response.status, parse(await response.text()));
      yield* serverSentEvents(response.body as AsyncIterable<Uint8Array>);
    } finally {
      left.abort();
    }
  }

  /** A stream of objects, one in each line. */
  private async *lines(path: string, body: unknown): AsyncGenerator<Record<string, unknown>> {
    const asked = {
      method: 'POST',
      headers: { authorization: `Bearer ${this.token}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(REQUEST_MS),
    };
    const response = await this.fetch(new URL(`/api/v1/${path}`, this.url), asked).catch((cause: unknown) => {
      throw this.unreachable(cause);
    });
    if (!response.ok || response.body === null) throw problemOf(response.status, parse(await response.text()));
    const decoder = new TextDecoder();
    let text = '';
    for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
      const whole = (text + decoder.decode(chunk, { stream: true })).split('\n');
      text = whole.pop() ?? '';
      for (const line of whole) yield parse(line) as Record<string, unknown>;
    }
  }

  private unreachable(cause: unknown): LocalFault {
    if (cause instanceof LocalFault) return cause;
    return new LocalFault(
      'hub-unreachable',
      `The hub at ${this.url} does not answer; "npm start" or "npx capstan up" starts it.`,
      undefined,
      { cause },
    );
  }

  private post<T>(path: string, body: unknown): Promise<T> {
    return this.request('POST', path, body);
  }

  private async request<T>(method: string, path: string, body?: unknown): Promise<T> {
    let response: Response;
    let text: string;
    try {
      response = await this.fetch(new URL(`/api/v1/${path}`, this.url), {
        method,
        headers: {
          authorization: `Bearer ${this.token}`,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(REQUEST_MS),
      });
      text = await response.text();
    } catch (error) {
      throw this.unreachable(error);
    }
    const answer = parse(text);
    if (response.ok) return answer as T;
    throw problemOf(response.status, answer);
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** What an API of ours has refused, from status and body. */
export function problemOf(status: number, answer: unknown): HubProblem {
  const { code, detail, title, errors } = (answer ?? {}) as Record<string, unknown>;
  const text = (value: unknown, otherwise: string): string =>
    typeof value === 'string' ? stripControl(value) : otherwise;
  const fields = Array.isArray(errors) ? (errors as { field: string; message: string }[]) : [];
  return new HubProblem(
    status,
    text(code, 'internal'),
    text(detail, text(title, `The hub answered ${String(status)}.`)),
    fields,
  );
}
