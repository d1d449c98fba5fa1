import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

/** What an agent of a benchmark is told to do; its work item is this text. */
export const WORK = { idle: 'bench: sleep', busy: 'bench: burn' } as const;
const COMMANDS = { [WORK.idle]: 'sleep 3600', [WORK.busy]: 'while :; do :; done' };

/**
 * Stands where the model provider would: the gateway's real Anthropic provider calls it, so that the first model call is
 * seen from outside. It answers with one tool call that never ends.
 */
export interface Upstream extends AsyncDisposable {
  url: string;
  /** Milliseconds since the epoch at which the next call arrives. */
  nextCall(): Promise<number>;
}

export async function startUpstream(): Promise<Upstream> {
  const waiting: ((atMs: number) => void)[] = [];
  const server = createServer((request, response) => {
    const atMs = Date.now();
    for (const resolve of waiting.splice(0)) resolve(atMs);
    void text(request).then((body) => {
      const isStream = /"stream":\s*true/.test(body);
      const command = body.includes(WORK.busy) ? COMMANDS[WORK.busy] : COMMANDS[WORK.idle];
      response.setHeader('content-type', isStream ? 'text/event-stream' : 'application/json');
      response.end(isStream ? streamed(command) : JSON.stringify(message(command)));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`,
    nextCall: () => new Promise((resolve) => waiting.push(resolve)),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const ENVELOPE = {
  id: 'msg_bench',
  type: 'message',
  role: 'assistant',
  model: 'bench',
  stop_sequence: null,
  usage: { input_tokens: 10, output_tokens: 10 },
};

function message(command: string): unknown {
  const content = [{ type: 'tool_use', id: 'toolu_bench', name: 'bash', input: { command } }];
  return { ...ENVELOPE, content, stop_reason: 'tool_use' };
}

/** The same message as server-sent events; https://docs.anthropic.com/en/api/messages-streaming */
function streamed(command: string): string {
  return streamedCall('bash', { command });
}

/** A message that calls one tool. */
export function streamedCall(name: string, argument: object): string {
  const tool = { type: 'tool_use', id: 'toolu_bench', name, input: {} };
  const input = { type: 'input_json_delta', partial_json: JSON.stringify(argument) };
  const events = [
    { type: 'message_start', message: { ...ENVELOPE, content: [], stop_reason: null } },
    { type: 'content_block_start', index: 0, content_block: tool },
    { type: 'content_block_delta', index: 0, delta: input },
    { type: 'content_block_stop', index: 0 },
    { type: 'message_delta', delta: { stop_reason: 'tool_use', stop_sequence: null }, usage: { output_tokens: 10 } },
    { type: 'message_stop' },
  ];
  return events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join('');
}
