import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Controller, Get, Query, Req, Res, type OnModuleDestroy } from '@nestjs/common';
import { ApiHeader, ApiProduces } from '@nestjs/swagger';
import { WireFault } from '@capstan/protocol';
import { AgentEvents, CURSOR, type AgentEvent, type EventGap } from '../valkey/agent.events.js';
import { EventsQuery } from './dto/requests.dto.js';

/** A comment now and then keeps proxies and idle timers quiet, and finds readers that are gone. */
const KEEPALIVE_MS = 10_000;
/** Nothing is stored for a reader, but each costs a connection and reads of Valkey. */
const MOST_READERS = 64;
/** A reader that takes nothing for so long is cut off; it may come back with its cursor. */
const PATIENCE_MS = 60_000;

/**
 * Every change as server-sent events, in order, resumable by cursor. What a reader has not taken yet stays in Valkey: a
 * slow one slows nobody but itself, and finds a gap where it was slower than the stream is long.
 */
@Controller('agents')
export class EventsController implements OnModuleDestroy {
  private readonly closing = new AbortController();
  private readers = 0;

  constructor(private readonly events: AgentEvents) {}

  /**
   * Every change as server-sent events, in order.
   *
   * @throws {WireFault} `too-many-connections`
   */
  @ApiHeader({
    name: 'Last-Event-ID',
    required: false,
    description: 'Goes on behind this event, whatever `after` says',
  })
  @ApiProduces('text/event-stream')
  @Get('events')
  async stream(
    @Query() query: EventsQuery,
    @Req() request: IncomingMessage,
    @Res() response: ServerResponse,
  ): Promise<void> {
    if (this.readers >= MOST_READERS) throw new WireFault('too-many-connections');
    this.readers += 1;
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    const signal = AbortSignal.any([gone.signal, this.closing.signal]);
    const keepalive = setInterval(() => {
      if (!response.writableNeedDrain) response.write(': alive\n\n');
    }, KEEPALIVE_MS);
    try {
      response.writeHead(200, HEADERS);
      response.write(': open\n\n');
      for await (const event of this.events.read(cursorOf(request) ?? query.after, signal)) {
        if (isWanted(event, query) && !response.write(textOf(event))) await drained(response, signal);
        if (signal.aborted) break;
      }
    } catch (error) {
      if (!signal.aborted) response.destroy(error instanceof Error ? error : undefined);
    } finally {
      clearInterval(keepalive);
      this.readers -= 1;
      response.end();
    }
  }

  onModuleDestroy(): void {
    this.closing.abort();
  }
}

const HEADERS = {
  'content-type': 'text/event-stream',
  'cache-control': 'no-store',
  connection: 'keep-alive',
  'x-accel-buffering': 'no',
};

/** Rejects where the reader takes nothing for too long, or is gone. */
async function drained(response: ServerResponse, signal: AbortSignal): Promise<void> {
  await once(response, 'drain', { signal: AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]) });
}

function textOf(event: AgentEvent | EventGap): string {
  if (event.kind === 'gap') return 'event: gap\ndata: {}\n\n';
  return `id: ${event.id}\nevent: ${event.kind}\ndata: ${event.json}\n\n`;
}

/** A gap concerns everybody: nobody knows what was in it. */
function isWanted(event: AgentEvent | EventGap, { agent, task, kinds }: EventsQuery): boolean {
  if (event.kind === 'gap') return true;
  if (kinds !== undefined && !kinds.split(',').includes(event.kind)) return false;
  if (agent === undefined && task === undefined) return true;
  const about = JSON.parse(event.json) as { agentId?: string; taskId?: string };
  return (agent === undefined || about.agentId === agent) && (task === undefined || about.taskId === task);
}

/** What a browser's EventSource sends when it reconnects. */
function cursorOf({ headers }: IncomingMessage): string | undefined {
  const last = headers['last-event-id'];
  return typeof last === 'string' && CURSOR.test(last) ? last : undefined;
}
