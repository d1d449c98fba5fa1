import { readFile } from 'node:fs/promises';
import { Agent } from 'node:http';
import {
  type AgentSnapshot,
  type AgentStalled,
  LocalFault,
  type LogPage,
  serverSentEvents,
  toBase64,
  WireFault,
} from '@capstan/protocol';
import { type LocalCall, openLocal, orchestratorAway, readLocal, refusalOf } from '@capstan/platform';
import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { SpokeConfig } from '../config/spoke.config.js';
import type { ClearSecrets } from '../secrets/secrets.js';
import { malformed, parseAgent, parseLogPage, parseStall } from './agent-json.js';

const ANSWER_MS = 10_000;
/** The orchestrator writes a comment more often than this. */
const EVENT_SILENCE_MS = 60_000;

/** A change of an agent, or that it has stalled or goes on; or that changes are missing, because the orchestrator keeps them only for a while. */
export type AgentNews =
  | { kind: 'agent'; cursor: string; agent: AgentSnapshot }
  | { kind: 'stall'; cursor: string; stall: AgentStalled }
  | { kind: 'gap' };

/**
 * The orchestrator of this instance. A refusal that will not change is thrown as WireFault; everything else (it is
 * away, busy, or does not know our token) as LocalFault `orchestrator-away`, after which the same can be asked again.
 */
@Injectable()
export class OrchestratorClient implements OnApplicationShutdown {
  private readonly agent = new Agent({ keepAlive: true, maxSockets: 64 });
  /** Questions that wait for a line must not take the places of the others. */
  private readonly patient = new Agent({ keepAlive: true });
  /** Streams must not take the places of requests. */
  private readonly streams = new Agent();

  constructor(private readonly config: SpokeConfig) {}

  /**
   * Hands a signed spawn over, with what was sealed in it; the orchestrator verifies it again. Resolves once it has the
   * agent on disk, the secrets not.
   */
  async spawn(envelope: Uint8Array, secrets: ClearSecrets = {}, admission?: Uint8Array): Promise<AgentSnapshot> {
    const clear = Object.entries(secrets).map(([name, value]) => ({ name, value }));
    const body = {
      envelope: toBase64(envelope),
      ...(clear.length === 0 ? {} : { secrets: clear }),
      ...(admission === undefined ? {} : { admission: toBase64(admission) }),
    };
    return parseAgent(await this.call('POST', '/commands', body));
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

  /** As `logs`, cut at `mostBytes`; where there is no such line yet, waits for one for at most `waitMs`. */
  async nextLogs(
    agentId: string,
    after: bigint,
    { limit, mostBytes, waitMs, signal }: { limit: number; mostBytes: number; waitMs: number; signal: AbortSignal },
  ): Promise<LogPage | undefined> {
    const most = `limit=${String(limit)}&mostBytes=${String(mostBytes)}`;
    const search = `after=${String(after)}&${most}&waitMs=${String(waitMs)}`;
    const json = await this.known(`/agents/${agentId}/logs?${search}`, {
      agent: this.patient,
      timeoutMs: waitMs + ANSWER_MS,
      signal,
    });
    return json === undefined ? undefined : parseLogPage(json, mostBytes);
  }

  /** Agents that wait for secrets which a restart has lost. */
  async wantedSecrets(): Promise<string[]> {
    const { agentIds } = (await this.call('GET', '/secrets/wanted')) as { agentIds?: unknown };
    return Array.isArray(agentIds) ? agentIds.filter((id) => typeof id === 'string') : [];
  }

  /** Names of the sandboxes that work there now. */
  async sandboxes(): Promise<string[]> {
    const states = await this.call('GET', '/sandboxes');
    if (!Array.isArray(states)) throw malformed('list of sandboxes', states);
    const all = states as { name?: unknown; available?: unknown }[];
    return all.filter(({ available }) => available === true).map(({ name }) => String(name));
  }

  /** Says that the reaper was told to kill this agent, so that it need not find out by itself. */
  async noticeKill(agentId: string): Promise<void> {
    await this.call('POST', `/agents/${agentId}/noticed-kill`, {});
  }

  /** Says that the reaper was told of a kill-all: who waits leaves the queue, and what is being pushed is broken off. */
  async noticeKillAll(): Promise<void> {
    await this.call('POST', '/agents/noticed-kill-all', {});
  }

  /** The newest agents, as they are now. */
  async list(): Promise<AgentSnapshot[]> {
    const agents = await this.call('GET', '/agents');
    return Array.isArray(agents) ? agents.map(parseAgent) : [];
  }

  /** A page of all agents, the newest first. @param after the last one of the page before; empty for the first page */
  async page(after: string, limit: number): Promise<AgentSnapshot[]> {
    const from = after === '' ? '' : `after=${after}&`;
    const agents = await this.call('GET', `/agents?${from}limit=${String(limit)}`);
    return Array.isArray(agents) ? agents.map(parseAgent) : [];
  }

  /** Every change of every agent after a cursor, in order; ends or throws when the stream breaks. */
  async *events(after: string, signal: AbortSignal): AsyncGenerator<AgentNews> {
    const path = `/agents/events?after=${encodeURIComponent(after)}`;
    const answer = await openLocal({
      ...(await this.base('GET', path)),
      agent: this.streams,
      timeoutMs: EVENT_SILENCE_MS,
      signal,
    });
    if (answer.statusCode !== 200)
      throw orchestratorAway(new Error(`status ${String(answer.statusCode)}: ${await readLocal(answer)}`));
    for await (const { id: cursor, event, data } of serverSentEvents(answer)) {
      if (event === 'gap') yield { kind: 'gap' };
      if (event === 'agent') yield { kind: 'agent', cursor, agent: parseAgent(JSON.parse(data)) };
      if (event === 'stall') yield { kind: 'stall', cursor, stall: parseStall(JSON.parse(data)) };
    }
  }

  onApplicationShutdown(): void {
    this.agent.destroy();
    this.patient.destroy();
    this.streams.destroy();
  }

  private async known(path: string, over: Partial<LocalCall> = {}): Promise<unknown> {
    try {
      return await this.call('GET', path, undefined, over);
    } catch (error) {
      if (error instanceof WireFault && (error.code === 'agent-unknown' || error.code === 'not-found'))
        return undefined;
      throw error;
    }
  }

  private async call(
    method: LocalCall['method'],
    path: string,
    body?: unknown,
    over: Partial<LocalCall> = {},
  ): Promise<unknown> {
    const base = await this.base(method, path);
    const answer = await openLocal({ ...base, ...(body === undefined ? {} : { body }), ...over });
    const text = await readLocal(answer);
    const status = answer.statusCode ?? 0;
    if (status >= 200 && status < 300) return text === '' ? undefined : (JSON.parse(text) as unknown);
    throw refusalOf(status, text);
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
