import { readFileSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { MeshInstance } from '@capstan/localmesh';
import { until } from './until.js';

export interface InstanceAnswer<T> {
  status: number;
  type: string;
  body: T;
}

/** The API that an instance's orchestrator offers its owner on a unix socket. */
export class InstanceApi {
  readonly token: string;

  constructor(private readonly instance: MeshInstance) {
    this.token = readFileSync(join(instance.dir, 'tokens', 'orchestrator.token'), 'utf8').trim();
  }

  /** @param token empty for none. */
  async call<T = Record<string, unknown>>(
    method: 'GET' | 'POST',
    path: string,
    body?: unknown,
    token = this.token,
  ): Promise<InstanceAnswer<T>> {
    const response = await this.open(method, path, body, token);
    const content = await text(response);
    return {
      status: response.statusCode ?? 0,
      type: String(response.headers['content-type']),
      body: (content === '' ? null : JSON.parse(content)) as T,
    };
  }

  /** Reads server-sent events until `isEnough`. @returns their data, by the name of the event */
  async events(path: string, isEnough: (events: InstanceEvent[]) => boolean): Promise<InstanceEvent[]> {
    const response = await this.open('GET', path, undefined, this.token);
    const events: InstanceEvent[] = [];
    let content = '';
    response.setEncoding('utf8');
    response.on('data', (chunk: string) => {
      const blocks = (content + chunk).split('\n\n');
      content = blocks.pop() ?? '';
      events.push(...blocks.flatMap(eventOf));
    });
    try {
      return await until('enough events have come', () => isEnough(events) && events);
    } finally {
      response.destroy();
    }
  }

  private open(method: string, path: string, body: unknown, token: string): Promise<IncomingMessage> {
    const headers = {
      ...(token === '' ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    };
    return new Promise((resolve, reject) => {
      const call = request({ socketPath: this.instance.orchestratorSocket, method, path, headers }, resolve);
      call.once('error', reject);
      call.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }
}

export interface InstanceEvent {
  id: string;
  name: string;
  data: Record<string, unknown>;
}

/** None for a comment. */
function eventOf(block: string): InstanceEvent[] {
  const fields = new Map(block.split('\n').map((line) => line.split(/: (.*)/s).slice(0, 2) as [string, string]));
  const data = fields.get('data');
  if (data === undefined) return [];
  return [
    { id: fields.get('id') ?? '', name: fields.get('event') ?? '', data: JSON.parse(data) as Record<string, unknown> },
  ];
}
