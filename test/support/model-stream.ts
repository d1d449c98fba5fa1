import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';

/** Answers as the Messages API streams: the content blocks, each in one piece. @param tokens that the reply reports. */
export function streamOf(
  response: ServerResponse,
  content: Record<string, unknown>[],
  tokens: { input: number; output: number },
): void {
  const send = (data: { type: string } & Record<string, unknown>): void => {
    response.write(`event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`);
  };
  const usage = { input_tokens: tokens.input, output_tokens: 1 };
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  send({
    type: 'message_start',
    message: {
      // Programs take replies of one id for parts of one reply.
      id: `msg_${randomUUID()}`,
      type: 'message',
      role: 'assistant',
      model: 'test',
      content: [],
      stop_reason: null,
      stop_sequence: null,
      usage,
    },
  });
  for (const [index, block] of content.entries()) {
    const isText = block['type'] === 'text';
    send({
      type: 'content_block_start',
      index,
      content_block: isText ? { ...block, text: '' } : { ...block, input: {} },
    });
    const delta = isText
      ? { type: 'text_delta', text: block['text'] }
      : { type: 'input_json_delta', partial_json: JSON.stringify(block['input']) };
    send({ type: 'content_block_delta', index, delta });
    send({ type: 'content_block_stop', index });
  }
  const stopReason = content.some(({ type }) => type === 'tool_use') ? 'tool_use' : 'end_turn';
  send({
    type: 'message_delta',
    delta: { stop_reason: stopReason, stop_sequence: null },
    usage: { output_tokens: tokens.output },
  });
  send({ type: 'message_stop' });
  response.end();
}
