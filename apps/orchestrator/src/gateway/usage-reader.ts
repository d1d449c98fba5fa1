import { StringDecoder } from 'node:string_decoder';
import type { Tokens } from './meter.js';

const LONGEST_LINE = 4 * 1024 * 1024;
/** A reply in one piece is held until its end, where its usage stands. */
const LONGEST_JSON = 8 * 1024 * 1024;
const BYTES_PER_TOKEN = 3;

/** Reads the tokens that a reply reports while the reply passes by. */
export interface UsageReader {
  push(chunk: Uint8Array): void;
  /** undefined where the reply reported none. Of a reply that broke off, the output is estimated from its bytes. */
  tokens(): Tokens | undefined;
  /** Whether the reply has come to its end. */
  readonly isWhole: boolean;
}

/** @param contentType of the reply. */
export function usageReader(contentType: string): UsageReader {
  return contentType.startsWith('text/event-stream') ? new StreamReader() : new JsonReader();
}

class JsonReader implements UsageReader {
  private readonly chunks: Uint8Array[] = [];
  private size = 0;

  push(chunk: Uint8Array): void {
    this.size += chunk.length;
    if (this.size <= LONGEST_JSON) this.chunks.push(chunk);
  }

  get isWhole(): boolean {
    return this.tokens() !== undefined;
  }

  tokens(): Tokens | undefined {
    return merge(undefined, field(parse(Buffer.concat(this.chunks).toString('utf8')), 'usage'));
  }
}

/** `message_start` says what went in; each `message_delta` what came out until then. */
class StreamReader implements UsageReader {
  private readonly decoder = new StringDecoder('utf8');
  /** Pieces of the line that has not ended. */
  private pieces: string[] = [];
  private length = 0;
  private found: Tokens | undefined;
  private deltaBytes = 0;
  isWhole = false;

  push(chunk: Uint8Array): void {
    const [first = '', ...others] = this.decoder.write(Buffer.from(chunk)).split('\n');
    this.goOn(first);
    for (const next of others) {
      this.endLine();
      this.goOn(next);
    }
  }

  tokens(): Tokens | undefined {
    if (this.found === undefined || this.isWhole) return this.found;
    return { ...this.found, output: Math.max(this.found.output, Math.ceil(this.deltaBytes / BYTES_PER_TOKEN)) };
  }

  /** Each byte is looked at once, however long a line is: what is too long is nothing that the gateway reads. */
  private goOn(piece: string): void {
    this.length += piece.length;
    if (this.length <= LONGEST_LINE) this.pieces.push(piece);
    else this.pieces = [];
  }

  private endLine(): void {
    const line = this.pieces.join('');
    this.pieces = [];
    this.length = 0;
    if (line.startsWith('data:')) this.take(parse(line.slice('data:'.length)));
  }

  private take(event: unknown): void {
    switch (field(event, 'type')) {
      case 'message_start':
        this.found = merge(this.found, field(field(event, 'message'), 'usage'));
        break;
      case 'content_block_delta':
        this.deltaBytes += saidIn(field(event, 'delta'));
        break;
      case 'message_delta':
        this.found = merge(this.found, field(event, 'usage'));
        this.isWhole = true;
        break;
      default:
    }
  }
}

/** Bytes of what the model has said, without its wrapping. */
function saidIn(delta: unknown): number {
  return ['text', 'partial_json', 'thinking'].reduce((sum, name) => {
    const said = field(delta, name);
    return sum + (typeof said === 'string' ? Buffer.byteLength(said) : 0);
  }, 0);
}

/** The figures are running totals: what a later event does not repeat still holds. */
function merge(before: Tokens | undefined, usage: unknown): Tokens | undefined {
  if (typeof usage !== 'object' || usage === null) return before;
  const count = (name: string, old: number): number => {
    const value = field(usage, name);
    return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : old;
  };
  const written = count('cache_creation_input_tokens', (before?.cacheWrite ?? 0) + (before?.cacheWriteHour ?? 0));
  const hour = field(field(usage, 'cache_creation'), 'ephemeral_1h_input_tokens');
  const cacheWriteHour = Math.min(written, typeof hour === 'number' ? hour : (before?.cacheWriteHour ?? 0));
  return {
    input: count('input_tokens', before?.input ?? 0),
    output: count('output_tokens', before?.output ?? 0),
    cacheRead: count('cache_read_input_tokens', before?.cacheRead ?? 0),
    cacheWrite: written - cacheWriteHour,
    cacheWriteHour,
  };
}

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}

function parse(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}
