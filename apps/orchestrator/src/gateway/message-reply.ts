import { randomBytes } from 'node:crypto';
import type { ContentBlock } from './play.js';
import type { ModelReply } from './provider.js';

export interface ReplyMessage {
  model: string;
  content: ContentBlock[];
  inputTokens: number;
  outputTokens: number;
}

/** Pieces of text and of tool inputs in a stream; small, so that clients really put them together. */
const PIECE = 400;

/** A whole reply as one JSON document. */
export function jsonReply(body: ReplyMessage | { input_tokens: number }): ModelReply {
  const text = JSON.stringify('content' in body ? messageOf(body) : body);
  return { status: 200, contentType: 'application/json', headers: {}, body: bytesOf([text]) };
}

/** A reply as the API's server-sent events (https://platform.claude.com/docs/en/build-with-claude/streaming). */
export function streamReply(message: ReplyMessage): ModelReply {
  return {
    status: 200,
    contentType: 'text/event-stream; charset=utf-8',
    headers: { 'cache-control': 'no-cache' },
    body: bytesOf(eventsOf(message)),
  };
}

function messageOf({ model, content, inputTokens, outputTokens }: ReplyMessage): Record<string, unknown> {
  return {
    id: `msg_${randomBytes(12).toString('hex')}`,
    type: 'message',
    role: 'assistant',
    model,
    content,
    stop_reason: stopReasonOf(content),
    stop_sequence: null,
    usage: usageOf(inputTokens, outputTokens),
  };
}

function usageOf(inputTokens: number, outputTokens: number): Record<string, number> {
  return {
    input_tokens: inputTokens,
    output_tokens: outputTokens,
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: 0,
  };
}

function stopReasonOf(content: ContentBlock[]): 'tool_use' | 'end_turn' {
  return content.some(({ type }) => type === 'tool_use') ? 'tool_use' : 'end_turn';
}

function* eventsOf(message: ReplyMessage): Generator<string> {
  const start = { ...messageOf(message), content: [], stop_reason: null, usage: usageOf(message.inputTokens, 1) };
  yield event({ type: 'message_start', message: start });
  yield event({ type: 'ping' });
  for (const [index, block] of message.content.entries()) {
    const empty = block.type === 'text' ? { ...block, text: '' } : { ...block, input: {} };
    yield event({ type: 'content_block_start', index, content_block: empty });
    const text = block.type === 'text' ? block.text : JSON.stringify(block.input);
    for (const piece of piecesOf(text)) {
      const delta =
        block.type === 'text' ? { type: 'text_delta', text: piece } : { type: 'input_json_delta', partial_json: piece };
      yield event({ type: 'content_block_delta', index, delta });
    }
    yield event({ type: 'content_block_stop', index });
  }
  const delta = { stop_reason: stopReasonOf(message.content), stop_sequence: null };
  yield event({ type: 'message_delta', delta, usage: { output_tokens: message.outputTokens } });
  yield event({ type: 'message_stop' });
}

function* piecesOf(text: string): Generator<string> {
  // By code points: half a surrogate pair would not survive UTF-8.
  const points = Array.from(text);
  for (let at = 0; at < points.length; at += PIECE) yield points.slice(at, at + PIECE).join('');
}

function event(data: { type: string } & Record<string, unknown>): string {
  return `event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`;
}

async function* bytesOf(texts: Iterable<string>): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield Buffer.from(text, 'utf8');
}
