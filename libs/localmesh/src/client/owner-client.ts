import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type AgentView, LocalFault } from '@capstan/protocol';
import { problemOf } from './hub-client.js';
import type { SpawnBody } from './hub-types.js';
import { requestOnSocket } from './local-http.js';

const ANSWER_MS = 15_000;

/** The connection of an instance as its spoke tells its owner. */
export interface OwnConnectionView {
  instanceId: string;
  hubId: string;
  connectionId: string;
  online: boolean;
  /** ACTIVE, SUSPENDED or DISCONNECTED: what the owner wishes, and what holds on his machine. */
  wish: string;
  /** What the hub made of it; `code` where it refused. */
  answer: { is: 'taken' | 'waiting' } | { is: 'refused'; code: string };
  revocationEpoch: string;
}

/** The key of an instance as its spoke tells its owner. */
export interface OwnKeyView {
  instanceId: string;
  keyId: string;
  epoch: number;
  /** Until when the key before is believed. */
  oldUntil: string | null;
  answer: { is: 'taken' } | { is: 'waiting'; nextKeyId: string } | { is: 'refused'; code: string };
}

/** What another instance has signed, as the spoke of this one has verified it. */
export interface PeerReceiptView {
  kind: string;
  verified: true;
  /** Base64. */
  envelope: string;
  /** Base64. */
  command: string;
}

export interface PeerSpawned {
  agentId: string;
  target: string;
  /** Null where the target has not answered yet. */
  agent: AgentView | null;
  receipt: PeerReceiptView | null;
}

export interface PeerKilled {
  outcome: string;
  confirmed: boolean;
  receipt: PeerReceiptView | null;
}

/** The owner's door to the spoke of an instance on this machine. Every method throws HubProblem, or LocalFault `spoke-unreachable`. */
export class OwnerClient {
  constructor(private readonly dir: string) {}

  connection(): Promise<OwnConnectionView> {
    return this.call('GET', '/connection');
  }
  moveConnection(verb: 'suspend' | 'resume' | 'disconnect', body: { reason?: string }): Promise<OwnConnectionView> {
    return this.call('POST', `/connection/${verb}`, body);
  }

  /** Puts another key in the place of the instance's own. */
  rotateKey(body: { overlapMs?: number }): Promise<OwnKeyView> {
    return this.call('POST', '/key/rotate', body);
  }

  /** Orders an agent on another instance, signed as this one. */
  spawn(body: Omit<SpawnBody, 'instance'> & { target: string }): Promise<PeerSpawned> {
    return this.call('POST', '/federation/agents/spawn', body);
  }
  status(agentId: string, target: string): Promise<{ agent: AgentView; receipt: PeerReceiptView }> {
    return this.call(
      'GET',
      `/federation/agents/${encodeURIComponent(agentId)}/status?target=${encodeURIComponent(target)}`,
    );
  }
  kill(agentId: string, body: { target: string; reason?: string }): Promise<PeerKilled> {
    return this.call('POST', `/federation/agents/${encodeURIComponent(agentId)}/kill`, body);
  }

  private async call<T>(method: 'GET' | 'POST', path: string, sent: object = {}): Promise<T> {
    const { status, body } = await this.ask(method, path, sent);
    const answer = JSON.parse(body) as unknown;
    if (status >= 400) throw problemOf(status, answer);
    return answer as T;
  }

  private async ask(method: 'GET' | 'POST', path: string, body: object): Promise<{ status: number; body: string }> {
    try {
      const token = (await readFile(join(this.dir, 'tokens', 'spoke.token'), 'utf8')).trim();
      const socketPath = join(this.dir, 'run', 'spoke.sock');
      return await requestOnSocket({ socketPath, method, path, token, body, timeoutMs: ANSWER_MS });
    } catch (cause) {
      const what = `The spoke of the instance in ${this.dir} does not answer.`;
      throw new LocalFault('spoke-unreachable', what, undefined, { cause });
    }
  }
}
