import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Controller, Get, Query, Req, Res, type OnModuleDestroy } from '@nestjs/common';
import { AgentEvents, CURSOR } from '../valkey/agent.events.js';
import { EventsQuery } from './dto/requests.dto.js';

/** A comment now and then keeps proxies and idle timers quiet, and finds readers that are gone. */
const KEEPALIVE_MS = 10_000;

/** Every change as server-sent events, in order, resumable by cursor; a slow reader slows nobody but itself. */
@Controller('agents')
export class EventsController implements OnModuleDestroy {
  private readonly closing = new AbortController();

  constructor(private readonly events: AgentEvents) {}

  @Get('events')
  async stream(
    @Query() query: EventsQuery,
    @Req() request: IncomingMessage,
    @Res() response: ServerResponse,
  ): Promise<void> {
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    const signal = AbortSignal.any([gone.signal, this.closing.signal]);
    response.writeHead(200, {
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
      connection: 'keep-alive',
      'x-accel-buffering': 'no',
    });
    response.write(': open\n\n');
    const keepalive = setInterval(() => response.write(': alive\n\n'), KEEPALIVE_MS);
    try {
      for await (const event of this.events.read(cursorOf(request) ?? query.after, signal)) {
        const text =
          event.kind === 'gap'
            ? 'event: gap\ndata: {}\n\n'
            : `id: ${event.id}\nevent: ${event.kind}\ndata: ${event.json}\n\n`;
        if (!response.write(text)) await once(response, 'drain', { signal });
        if (signal.aborted) break;
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      clearInterval(keepalive);
      response.end();
    }
  }

  onModuleDestroy(): void {
    this.closing.abort();
  }
}

/** What a browser's EventSource sends when it reconnects. */
function cursorOf({ headers }: IncomingMessage): string | undefined {
  const last = headers['last-event-id'];
  return typeof last === 'string' && CURSOR.test(last) ? last : undefined;
}
