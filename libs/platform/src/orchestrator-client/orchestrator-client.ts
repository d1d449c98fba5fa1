import { Agent } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import {
  type AgentView,
  isAgentStateName,
  isId,
  type KillOutcomeName,
  LocalFault,
  newId,
  serverSentEvents,
  WireFault,
} from '@capstan/protocol';
import type { ListenTarget } from '../http/listen.js';
import { type LocalCall, openLocal, orchestratorAway, readLocal } from './local-http.js';
import { refusalOf } from './refusal.js';

const ANSWER_MS = 10_000;
const PATIENCE_MS = 30_000;
/** The orchestrator writes a comment more often than this. */
const EVENT_SILENCE_MS = 60_000;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 2_000;

export interface OrchestratorClientOptions {
  /** Where it listens. */
  target: ListenTarget;
  /** Asked before each request: the owner may change it. */
  token: () => Promise<string>;
  /** For how long a request is tried again while the orchestrator is away or says "later", milliseconds. */
  patienceMs?: number;
}

/** What POST /agents/spawn takes; the agent's id is made here where it is not given, so that a repetition has one effect. */
export interface OrchestratorSpawn {
  taskId: string;
  agentId?: string;
  agentType: 'worker' | 'reviewer' | 'tester';
  runtime?: string;
  tenant?: string;
  context: { repository: string; branch?: string; workItems: string[]; skills?: string[] };
  options?: Readonly<Record<string, string | number>>;
}

export interface OrchestratorKill {
  agentId: string;
  outcome: KillOutcomeName;
  /** Base64 of a serialized Envelope signed by the reaper; empty where the outcome is `unconfirmed`. */
  observation: string;
}

/** What a kill of a task has reached. */
export interface OrchestratorTaskKill {
  /** False where it could not be read who waits: the order is to be repeated until it is complete. */
  complete: boolean;
  agents: OrchestratorKill[];
}

const NOTICE_KINDS = ['cleaned', 'stall', 'message', 'compaction'] as const;
type NoticeKind = (typeof NOTICE_KINDS)[number];

export interface OrchestratorEventFilter {
  agent?: string;
  task?: string;
  kinds?: readonly ('agent' | NoticeKind)[];
}

/** `gap`: changes before the next event were dropped; whoever reads lists the agents anew. */
export type OrchestratorEvent =
  | { kind: 'agent'; cursor: string; agent: AgentView }
  | { kind: NoticeKind; cursor: string; data: Readonly<Record<string, unknown>> }
  | { kind: 'gap' };

/**
 * The orchestrator's own API, for whoever is trusted with its token. What may be repeated is repeated while the
 * orchestrator is away. Throws WireFault for a refusal, LocalFault `orchestrator-away` once patience has ended.
 */
export class OrchestratorClient {
  private readonly agent = new Agent({ keepAlive: true, maxSockets: 32 });
  /** Streams must not take the places of requests. */
  private readonly streams = new Agent();

  constructor(private readonly options: OrchestratorClientOptions) {}

  /** Resolves once the agent is on disk, with its id. @throws WireFault `policy-*`, `disarmed`, `agent-exists`, `validation` */
  async spawn(order: OrchestratorSpawn, signal?: AbortSignal): Promise<string> {
    const body = { ...order, agentId: order.agentId ?? newId() };
    await this.call('POST', '/agents/spawn', body, signal);
    return body.agentId;
  }

  /** Undefined where the orchestrator does not know the agent. */
  async status(agentId: string, signal?: AbortSignal): Promise<AgentView | undefined> {
    try {
      return viewOf(await this.call('GET', `/agents/${checked(agentId)}/status`, undefined, signal));
    } catch (error) {
      if (error instanceof WireFault && error.code === 'agent-unknown') return undefined;
      throw error;
    }
  }

  /**
   * Resolves once the message waits for the running agent, with its id. A repetition is delivered once.
   *
   * @throws WireFault `agent-unknown`, `agent-not-running`, `agent-ended`, `messages-unsupported`, `messages-full`,
   *   `message-exists`
   */
  async message(agentId: string, text: string, signal?: AbortSignal): Promise<string> {
    const body = { messageId: newId(), text };
    await this.call('POST', `/agents/${checked(agentId)}/messages`, body, signal);
    return body.messageId;
  }

  /** Resolves once the reaper has answered; a repetition gets the same death. */
  async kill(agentId: string, reason = '', signal?: AbortSignal): Promise<OrchestratorKill> {
    const answer = await this.call('POST', `/agents/${checked(agentId)}/kill`, { reason }, signal);
    return { ...(answer as OrchestratorKill), agentId };
  }

  /** Kills every agent of the instance, or of one tenant; a repetition raises the kill epoch once more, and does no harm. */
  async killAll(
    reason = '',
    { tenant, signal }: { tenant?: string; signal?: AbortSignal } = {},
  ): Promise<OrchestratorKill[]> {
    const body = { reason, ...(tenant === undefined ? {} : { tenant }) };
    return ((await this.call('POST', '/agents/kill-all', body, signal)) as { agents: OrchestratorKill[] }).agents;
  }

  /** Kills every agent of a task; a repetition does no harm. */
  async killTask(taskId: string, reason = '', signal?: AbortSignal): Promise<OrchestratorTaskKill> {
    return (await this.call('POST', `/tasks/${checked(taskId)}/kill`, { reason }, signal)) as OrchestratorTaskKill;
  }

  /**
   * Every change after a cursor, in order, once each: a stream that breaks is opened again behind the last event, for as
   * long as it takes. Ends only by `signal`. @param after `0` for everything that is kept. @throws WireFault of a refusal
   */
  async *events(
    after: string,
    signal: AbortSignal,
    filter: OrchestratorEventFilter = {},
  ): AsyncGenerator<OrchestratorEvent> {
    let cursor = after;
    for (let failures = 0; !signal.aborted; failures += 1) {
      try {
        for await (const event of this.stream(cursor, signal, filter)) {
          failures = 0;
          if (event.kind !== 'gap') cursor = event.cursor;
          yield event;
        }
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof WireFault && isFinal(error)) throw error;
      }
      await pause(failures, signal);
    }
  }

  close(): void {
    this.agent.destroy();
    this.streams.destroy();
  }

  private async *stream(
    cursor: string,
    signal: AbortSignal,
    { agent, task, kinds }: OrchestratorEventFilter,
  ): AsyncGenerator<OrchestratorEvent> {
    const search = new URLSearchParams({
      ...(agent && { agent }),
      ...(task && { task }),
      ...(kinds && { kinds: kinds.join(',') }),
    });
    const answer = await openLocal({
      ...(await this.base('GET', `/agents/events?${search.toString()}`)),
      agent: this.streams,
      headers: { 'last-event-id': cursor },
      timeoutMs: EVENT_SILENCE_MS,
      signal,
    });
    if (answer.statusCode !== 200) throw refusalOf(answer.statusCode ?? 0, await readLocal(answer));
    for await (const { id, event, data } of serverSentEvents(answer)) {
      if (event === 'gap') yield { kind: 'gap' };
      if (event === 'agent') yield { kind: event, cursor: id, agent: viewOf(JSON.parse(data)) };
      if (isNoticeKind(event)) yield { kind: event, cursor: id, data: JSON.parse(data) as Record<string, unknown> };
    }
  }

  /** Again and again while the orchestrator is away or says "later". */
  private async call(
    method: LocalCall['method'],
    path: string,
    body?: unknown,
    signal?: AbortSignal,
  ): Promise<unknown> {
    const deadline = performance.now() + (this.options.patienceMs ?? PATIENCE_MS);
    for (let failures = 0; ; failures += 1) {
      try {
        return await this.once(method, path, body, signal);
      } catch (error) {
        if (isFinal(error) || signal?.aborted === true || performance.now() > deadline) throw error;
      }
      await pause(failures, signal);
      signal?.throwIfAborted();
    }
  }

  private async once(
    method: LocalCall['method'],
    path: string,
    body?: unknown,
    signal?: AbortSignal,
  ): Promise<unknown> {
    const base = await this.base(method, path);
    const answer = await openLocal({ ...base, ...(body !== undefined && { body }), ...(signal && { signal }) });
    const text = await readLocal(answer);
    const status = answer.statusCode ?? 0;
    if (status < 200 || status >= 300) throw refusalOf(status, text);
    return text === '' ? undefined : parse(text);
  }

  private async base(method: LocalCall['method'], path: string): Promise<LocalCall> {
    const token = await this.options.token().catch((cause: unknown) => {
      throw orchestratorAway(cause);
    });
    return { target: this.options.target, agent: this.agent, method, path, token, timeoutMs: ANSWER_MS };
  }
}

function isNoticeKind(kind: string): kind is NoticeKind {
  return NOTICE_KINDS.some((known) => known === kind);
}

/** A refusal waits for a person or for other orders; only a lack of places passes by itself. */
function isFinal(error: unknown): boolean {
  if (error instanceof WireFault) return error.code !== 'too-many-connections';
  return !(error instanceof LocalFault);
}

/** An id is joined into a path. @throws WireFault `id-malformed` */
function checked(id: string): string {
  if (!isId(id)) throw new WireFault('id-malformed');
  return id;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new LocalFault('orchestrator-malformed', 'The orchestrator’s answer cannot be read.', undefined, { cause });
  }
}

function viewOf(json: unknown): AgentView {
  const view = json as AgentView;
  if (isId(view.agentId) && isAgentStateName(view.state)) return view;
  throw new LocalFault('orchestrator-malformed', 'The orchestrator’s agent cannot be read.');
}

/** Resolves early when the signal is aborted. */
async function pause(failures: number, signal?: AbortSignal): Promise<void> {
  const most = Math.min(FIRST_PAUSE_MS * 2 ** failures, LONGEST_PAUSE_MS);
  await delay(most * (0.5 + Math.random() / 2), undefined, signal && { signal }).catch(() => undefined);
}
