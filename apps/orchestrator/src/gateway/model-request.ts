import type { IncomingMessage } from 'node:http';
import { ApiFault } from './api-fault.js';
import type { ByteLease } from './byte-pool.js';

/** A request to the Messages API, checked as far as the gateway cares; the rest is the model's to judge. */
export interface ModelRequest {
  model: string;
  messages: unknown[];
  max_tokens?: number;
  stream?: boolean;
  tools?: Record<string, unknown>[];
  [field: string]: unknown;
}

/** Everything else of the API reaches further than the model: other files, servers, regions, prices. */
const FIELDS: ReadonlySet<string> = new Set([
  ...['model', 'messages', 'max_tokens', 'stream', 'tools', 'tool_choice', 'system', 'thinking', 'output_config'],
  ...['temperature', 'top_p', 'top_k', 'stop_sequences', 'cache_control', 'context_management', 'metadata'],
]);

/** Tools that the agent runs itself. A server's tools (web search, code execution …) would be a way to the network. */
const CLIENT_TOOL = /^(?:custom|bash_\d+|text_editor_\d+|memory_\d+)$/;

/** Of lists and objects in each other; tools' schemas and results stay far below. */
const DEEPEST = 200;

/** Sources that the server would fetch or look up for the agent. */
const FOREIGN_SOURCES: readonly unknown[] = ['url', 'file'];

/**
 * @param limit bytes. @param lease of the memory that the request holds.
 * @throws {ApiFault} `request_too_large`, `invalid_request_error`, `rate_limit_error` where there is no memory for it now
 */
export async function readRequest(
  message: IncomingMessage,
  limit: number,
  lease: ByteLease,
): Promise<{ request: ModelRequest; bytes: number }> {
  if (message.headers['content-encoding'] !== undefined)
    throw new ApiFault('invalid_request_error', 'content-encoding is not supported');
  const tooLarge = new ApiFault('request_too_large', `a request may have at most ${String(limit)} bytes`);
  if (Number(message.headers['content-length'] ?? 0) > limit) throw tooLarge;
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of message as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > limit) throw tooLarge;
    lease.grow(chunk.length);
    chunks.push(chunk);
  }
  return { request: parseRequest(Buffer.concat(chunks).toString('utf8')), bytes };
}

/** @throws {ApiFault} `invalid_request_error` */
export function parseRequest(json: string): ModelRequest {
  let body: unknown;
  try {
    body = JSON.parse(json);
  } catch (cause) {
    throw new ApiFault('invalid_request_error', 'the body is no JSON', { cause });
  }
  if (!isObject(body)) throw new ApiFault('invalid_request_error', 'the body is no object');
  for (const name of Object.keys(body)) {
    if (!FIELDS.has(name)) throw new ApiFault('invalid_request_error', `${name.slice(0, 80)}: not allowed here`);
  }
  const { model, messages, max_tokens: maxTokens, stream, tools } = body;
  if (typeof model !== 'string') throw new ApiFault('invalid_request_error', 'model: must be a string');
  if (!Array.isArray(messages) || messages.length === 0)
    throw new ApiFault('invalid_request_error', 'messages: must not be empty');
  if (maxTokens !== undefined && !(Number.isSafeInteger(maxTokens) && Number(maxTokens) > 0)) {
    throw new ApiFault('invalid_request_error', 'max_tokens: must be a positive integer');
  }
  if (stream !== undefined && typeof stream !== 'boolean')
    throw new ApiFault('invalid_request_error', 'stream: must be a boolean');
  checkTools(tools);
  checkSources(body);
  return body as ModelRequest;
}

function checkTools(tools: unknown): void {
  if (tools === undefined) return;
  if (!Array.isArray(tools) || !tools.every(isObject))
    throw new ApiFault('invalid_request_error', 'tools: must be objects');
  for (const { type } of tools) {
    if (type !== undefined && !(typeof type === 'string' && CLIENT_TOOL.test(type))) {
      throw new ApiFault('permission_error', `tools: ${JSON.stringify(type).slice(0, 80)} runs outside of the sandbox`);
    }
  }
}

function checkSources(body: unknown): void {
  for (const { source } of objectsIn(body)) {
    if (isObject(source) && FOREIGN_SOURCES.includes(source['type'])) {
      throw new ApiFault('permission_error', `source: ${String(source['type'])} reaches outside of the sandbox`);
    }
  }
}

/** Whether a part of the prompt is to be kept in the cache for an hour, which is dearer than five minutes. */
export function isKeptForAnHour(request: ModelRequest): boolean {
  for (const { cache_control: control } of objectsIn(request)) {
    if (isObject(control) && control['ttl'] === '1h') return true;
  }
  return false;
}

/** Every object and list, however deep, up to a limit: on the way to the model the body is written with the call stack. */
function* objectsIn(body: unknown): Generator<Record<string, unknown>> {
  // A stack of our own: the agent decides how deep the body is.
  const pending: [value: unknown, depth: number][] = [[body, 0]];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const [value, depth] = next;
    if (typeof value !== 'object' || value === null) continue;
    if (depth > DEEPEST)
      throw new ApiFault('invalid_request_error', `the body is nested deeper than ${String(DEEPEST)}`);
    yield value as Record<string, unknown>;
    for (const each of Object.values(value))
      if (typeof each === 'object' && each !== null) pending.push([each, depth + 1]);
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
