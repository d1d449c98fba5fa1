import { type Agent, type IncomingMessage, request } from 'node:http';
import { LocalFault } from '@capstan/protocol';
import type { ListenTarget } from '../http/listen.js';

const MOST_BYTES = 16 * 1_048_576;

export interface LocalCall {
  target: ListenTarget;
  agent: Agent;
  method: 'GET' | 'POST';
  path: string;
  token: string;
  headers?: Readonly<Record<string, string>>;
  body?: unknown;
  /** For the head of the answer and for silence in its body, milliseconds. */
  timeoutMs: number;
  signal?: AbortSignal;
}

/** Sends a request to a process of this instance; resolves with the head of its answer. @throws LocalFault `orchestrator-away` */
export function openLocal(call: LocalCall): Promise<IncomingMessage> {
  const { target, agent, method, path, token, headers: further, body, timeoutMs, signal } = call;
  const text = body === undefined ? undefined : JSON.stringify(body);
  const where = 'path' in target ? { socketPath: target.path } : { host: target.host, port: target.port };
  const content =
    text === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) };
  const headers = { ...further, authorization: `Bearer ${token}`, ...content };
  return new Promise((resolve, reject) => {
    const sent = request(
      { ...where, agent, method, path, headers, timeout: timeoutMs, ...(signal ? { signal } : {}) },
      resolve,
    );
    sent.on('timeout', () => sent.destroy(new Error('no answer in time')));
    sent.on('error', (cause) => reject(orchestratorAway(cause)));
    sent.end(text);
  });
}

/** The whole answer. @throws LocalFault `orchestrator-away` */
export async function readLocal(answer: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  let size = 0;
  try {
    for await (const part of answer as AsyncIterable<Buffer>) {
      size += part.length;
      if (size > MOST_BYTES) throw new Error('the answer is too large');
      parts.push(part);
    }
  } catch (cause) {
    throw orchestratorAway(cause);
  }
  return Buffer.concat(parts).toString('utf8');
}

/** The orchestrator could not be asked, or did not answer. */
export function orchestratorAway(cause: unknown): LocalFault {
  return new LocalFault('orchestrator-away', 'The orchestrator does not answer.', undefined, { cause });
}
