import { readFile } from 'node:fs/promises';
import { Agent } from 'node:http';
import { type AgentSnapshot, isFaultCode, LocalFault, type LogPage, toBase64, WireFault } from '@capstan/protocol';
import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { SpokeConfig } from '../config/spoke.config.js';
import { parseAgent, parseLogPage } from './agent-json.js';
import { away, type LocalCall, open, read } from './local-http.js';
import { serverSentEvents } from './server-sent-events.js';

const ANSWER_MS = 10_000;
/** The orchestrator writes a comment more often than this. */
const EVENT_SILENCE_MS = 60_000;

/** A change of an agent; or that changes are missing, because the orchestrator keeps them only for a while. */
export type AgentNews = { kind: 'agent'; cursor: string; agent: AgentSnapshot } | { kind: 'gap' };

/**
 * The orchestrator of this instance. A refusal that will not change is thrown as WireFault; everything else (it is
 * away, busy, or does not know our token) as LocalFault `orchestrator-away`, after which the same can be asked again.
 */
@Injectable()
export class OrchestratorClient implements OnApplicationShutdown {
  private readonly agent = new Agent({ keepAlive: true, maxSockets: 64 });
  /** Streams must not take the places of requests. */
  private readonly streams = new Agent();

  constructor(private readonly config: SpokeConfig) {}

  /** Hands a signed spawn over; the orchestrator verifies it again. Resolves once it has the agent on disk. */
  async spawn(envelope: Uint8Array): Promise<AgentSnapshot> {
    return parseAgent(await this.call('POST', '/commands', { envelope: toBase64(envelope) }));
  }

  /** Undefined where the orchestrator does not know the agent. */
  async status(agentId: string): Promise<AgentSnapshot | undefined> {
    const json = await this.known(`/agents/${agentId}/status`);
    return json === undefined ? undefined : parseAgent(json);
  }

  /** Lines after a sequence. Undefined where the orchestrator does not know the agent. */
  async logs(agentId: string, after: bigint, limit: number): Promise<LogPage | undefined> {
    const json = await this.known(`/agents/${agentId}/logs?after=${String(after)}&limit=${String(limit)}`);
    return json === undefined ? undefined : parseLogPage(json);
  }

  /** Says that the reaper was told to kill this agent, so that it need not find out by itself. */
  async noticeKill(agentId: string): Promise<void> {
    await this.call('POST', `/agents/${agentId}/noticed-kill`, {});
  }

  /** The newest agents, as they are now. */
  async list(): Promise<AgentSnapshot[]> {
    const agents = await this.call('GET', '/agents');
    return Array.isArray(agents) ? agents.map(parseAgent) : [];
  }

  /** Every change of every agent after a cursor, in order; ends or throws when the stream breaks. */
  async *events(after: string, signal: AbortSignal): AsyncGenerator<AgentNews> {
    const path = `/agents/events?after=${encodeURIComponent(after)}`;
    const answer = await open({
      ...(await this.base('GET', path)),
      agent: this.streams,
      timeoutMs: EVENT_SILENCE_MS,
      signal,
    });
    if (answer.statusCode !== 200) throw away(new Error(`status ${String(answer.statusCode)}: ${await read(answer)}`));
    for await (const { id: cursor, event, data } of serverSentEvents(answer)) {
      if (event === 'gap') yield { kind: 'gap' };
      if (event === 'agent') yield { kind: 'agent', cursor, agent: parseAgent(JSON.parse(data)) };
    }
  }

  onApplicationShutdown(): void {
    this.agent.destroy();
    this.streams.destroy();
  }

  private async known(path: string): Promise<unknown> {
    try {
      return await this.call('GET', path);
    } catch (error) {
      if (error instanceof WireFault && (error.code === 'agent-unknown' || error.code === 'not-found'))
        return undefined;
      throw error;
    }
  }

  private async call(method: LocalCall['method'], path: string, body?: unknown): Promise<unknown> {
    const answer = await open({ ...(await this.base(method, path)), ...(body === undefined ? {} : { body }) });
    const text = await read(answer);
    const status = answer.statusCode ?? 0;
    if (status >= 200 && status < 300) return text === '' ? undefined : (JSON.parse(text) as unknown);
    throw refusal(status, text);
  }

  private async base(method: LocalCall['method'], path: string): Promise<LocalCall> {
    // Read each time: the owner may change it while both sides run.
    const token = await readFile(this.config.dir.orchestratorToken, 'utf8').catch((cause: unknown) => {
      throw new LocalFault('orchestrator-away', 'The orchestrator’s token cannot be read.', undefined, { cause });
    });
    return {
      target: this.config.orchestrator,
      agent: this.agent,
      method,
      path,
      token: token.trim(),
      timeoutMs: ANSWER_MS,
    };
  }
}

/** Only a coded refusal below 500 is final, and only one of what was sent: our token is no fault of the hub’s. */
function refusal(status: number, text: string): WireFault | LocalFault {
  const code = codeOf(text);
  const isOurs = status === 401 || status === 403 || status >= 500;
  if (isOurs || !isFaultCode(code)) return away(new Error(`status ${String(status)}: ${text.slice(0, 300)}`));
  return new WireFault(code, 'orchestrator');
}

function codeOf(text: string): string {
  try {
    const { code } = JSON.parse(text) as { code?: unknown };
    return typeof code === 'string' ? code : '';
  } catch {
    return '';
  }
}
