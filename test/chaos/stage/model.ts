import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import type { ModelCall } from '../history/history.ts';
import type { Work } from '../plan/schedule.ts';

const TASK = /chaos task (?<agentId>[a-z0-9-]+): (?<work>brief|lasting)/;
const UUID = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/;

/** The work item by which an agent's requests are told from another's. */
export function workItem(agentId: string, work: Work): string {
  return `chaos task ${agentId}: ${work}`;
}

/**
 * Stands where the model provider would, and so sees from outside which agents run. The first reply has the agent draw a
 * number and note it in the work tree; its next request tells that number, which names the process for ever.
 */
export class Model implements AsyncDisposable {
  readonly calls: ModelCall[] = [];
  private readonly server: Server;

  private constructor(server: Server) {
    this.server = server;
    server.on('request', (request, response) => {
      const at = Date.now();
      void text(request).then(
        (body) => {
          const { agentId = '', work = 'brief' } = TASK.exec(body)?.groups ?? {};
          const process = body.includes('tool_result') ? UUID.exec(resultsOf(body))?.[0] : undefined;
          this.calls.push({ agentId, at, ...(process === undefined ? {} : { process }) });
          response.setHeader('content-type', 'text/event-stream');
          response.end(streamed(...nextCall(agentId, work as Work, body.includes('tool_result'))));
        },
        () => undefined,
      );
    });
  }

  static async start(): Promise<Model> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Model(server);
  }

  get url(): string {
    return `http://127.0.0.1:${String((this.server.address() as AddressInfo).port)}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.server.closeAllConnections();
    this.server.close();
    await once(this.server, 'close');
  }
}

function resultsOf(body: string): string {
  const { messages } = JSON.parse(body) as { messages: { content: unknown }[] };
  const blocks = messages.flatMap(({ content }) => (Array.isArray(content) ? (content as { type: string }[]) : []));
  return JSON.stringify(blocks.filter(({ type }) => type === 'tool_result'));
}

function nextCall(agentId: string, work: Work, hasBegun: boolean): [string, object] {
  if (!hasBegun) return ['bash', { command: `cat /proc/sys/kernel/random/uuid | tee -a ${agentId}.mark` }];
  if (work === 'brief') return ['submit', { summary: `Leave the mark of ${agentId}` }];
  return ['bash', { command: "trap '' TERM; sleep 3600", timeout_seconds: 3600 }];
}

/** One tool call as server-sent events; https://docs.anthropic.com/en/api/messages-streaming */
function streamed(name: string, input: object): string {
  const usage = { input_tokens: 10, output_tokens: 10 };
  const message = {
    id: 'msg_chaos',
    type: 'message',
    role: 'assistant',
    model: 'chaos',
    content: [],
    stop_reason: null,
  };
  const tool = { type: 'tool_use', id: `toolu_${name}`, name, input: {} };
  const delta = { type: 'input_json_delta', partial_json: JSON.stringify(input) };
  const events = [
    { type: 'message_start', message: { ...message, stop_sequence: null, usage } },
    { type: 'content_block_start', index: 0, content_block: tool },
    { type: 'content_block_delta', index: 0, delta },
    { type: 'content_block_stop', index: 0 },
    { type: 'message_delta', delta: { stop_reason: 'tool_use', stop_sequence: null }, usage: { output_tokens: 10 } },
    { type: 'message_stop' },
  ];
  return events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join('');
}
