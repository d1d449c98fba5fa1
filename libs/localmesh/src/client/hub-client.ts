import { LocalFault, stripControl } from '@capstan/protocol';
import type {
  CommandAccepted,
  CommandView,
  ConnectionView,
  HubAgentView,
  HubInstanceView,
  Invitation,
  KillAnswer,
  LogPageView,
  ReceiptView,
  SpawnBody,
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

/** The hub's HTTP API, typed. Every method throws HubProblem, or LocalFault `hub-unreachable`. */
export class HubClient {
  constructor(
    readonly url: string,
    private readonly token: string,
  ) {}

  instance(): Promise<HubInstanceView> {
    return this.get('federation/instance');
  }
  connections(): Promise<ConnectionView[]> {
    return this.get('federation/connections');
  }
  invite(body: { autoApprove?: boolean; ttlSeconds?: number; displayName?: string } = {}): Promise<Invitation> {
    return this.post('federation/enrollments', body);
  }
  approve(connectionId: string): Promise<ConnectionView> {
    return this.post(`federation/connections/${encodeURIComponent(connectionId)}/approve`, {});
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
  /** True where every part that the hub needs answers. */
  async isReady(): Promise<boolean> {
    try {
      return (await fetch(new URL('/health/ready', this.url), { signal: AbortSignal.timeout(2000) })).ok;
    } catch {
      return false;
    }
  }

  private get<T>(path: string, query: Record<string, number | undefined> = {}): Promise<T> {
    const asked = Object.entries(query).filter(([, value]) => value !== undefined && value !== 0);
    const search = new URLSearchParams(
      Object.fromEntries(asked.map(([name, value]) => [name, String(value)])),
    ).toString();
    return this.request('GET', search === '' ? path : `${path}?${search}`);
  }

  private post<T>(path: string, body: unknown): Promise<T> {
    return this.request('POST', path, body);
  }

  private async request<T>(method: string, path: string, body?: unknown): Promise<T> {
    let response: Response;
    let text: string;
    try {
      response = await fetch(new URL(`/api/v1/${path}`, this.url), {
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
      throw new LocalFault(
        'hub-unreachable',
        `The hub at ${this.url} does not answer; "npm start" or "npx capstan up" starts it.`,
        undefined,
        { cause: error },
      );
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

function problemOf(status: number, answer: unknown): HubProblem {
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
