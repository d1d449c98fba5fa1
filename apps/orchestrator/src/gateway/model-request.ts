import type { IncomingMessage } from 'node:http';
import { ApiFault } from './api-fault.js';
import type { ByteLease } from './byte-pool.js';
import { JsonStructure } from './json-structure.js';
import { surveyOf, type RequestSurvey } from './request-survey.js';

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

/** Brackets, colons and commas outside of strings: long conversations have some ten thousand. */
const MOST_STRUCTURE = 2 ** 18;
/** Memory that each of them stands for once it is parsed. */
const STRUCTURE_BYTES = 64;
/** Memory that a piece of the body takes besides its bytes. */
const PIECE_BYTES = 128;

/** A request as it was read. */
export interface ReadRequest {
  request: ModelRequest;
  survey: RequestSurvey;
  bytes: number;
}

/**
 * @param limit bytes. @param lease of the memory that the request holds.
 * @throws {ApiFault} `request_too_large`, `invalid_request_error`, `rate_limit_error` where there is no memory for it now
 */
export async function readRequest(message: IncomingMessage, limit: number, lease: ByteLease): Promise<ReadRequest> {
  if (message.headers['content-encoding'] !== undefined)
    throw new ApiFault('invalid_request_error', 'content-encoding is not supported');
  const tooLarge = new ApiFault('request_too_large', `a request may have at most ${String(limit)} bytes`);
  if (Number(message.headers['content-length'] ?? 0) > limit) throw tooLarge;
  const chunks: Buffer[] = [];
  const structure = new JsonStructure();
  let [bytes, marks] = [0, 0];
  for await (const chunk of message as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > limit) throw tooLarge;
    // Before it is parsed: that holds everybody up, and takes many times the memory.
    const found = structure.push(chunk);
    marks += found;
    if (marks > MOST_STRUCTURE)
      throw new ApiFault(
        'request_too_large',
        `a request may have at most ${String(MOST_STRUCTURE)} values and brackets`,
      );
    lease.grow(chunk.length + PIECE_BYTES + found * STRUCTURE_BYTES);
    chunks.push(chunk);
  }
  return { ...parseRequest(Buffer.concat(chunks).toString('utf8')), bytes };
}

/** @throws {ApiFault} `invalid_request_error` */
function parseRequest(json: string): Pick<ReadRequest, 'request' | 'survey'> {
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
  return { survey: surveyOf(body), request: body as ModelRequest };
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

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
