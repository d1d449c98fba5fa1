import type { ServerResponse } from 'node:http';
import { Controller, Get, Headers, Query, Res } from '@nestjs/common';
import { ApiBearerAuth, ApiHeader, ApiOperation, ApiProduces, ApiPropertyOptional, ApiTags } from '@nestjs/swagger';
import { IsOptional, Matches } from 'class-validator';
import { EventStore } from './event.store.js';
import type { EventStream } from './event-stream.js';
import { EventTail } from './event-tail.js';
import { OnceTold } from './once-told.js';
import { OpenStreams } from './open-streams.js';

const CURSOR = /^\d{1,18}$/;

export class EventsQuery {
  @ApiPropertyOptional({ description: 'Cursor of the last event that was seen; 0 for the beginning; else from now on' })
  @IsOptional()
  @Matches(CURSOR, { message: 'after must be a cursor of an earlier event, or 0' })
  after?: string;
}

/** Where a stream begins, and whether its reader knows of more than this hub has. */
interface Start {
  cursor: bigint;
  isAhead: boolean;
}

@ApiTags('events')
@ApiBearerAuth()
@Controller('api/v1/federation/events')
export class EventsController {
  constructor(
    private readonly streams: OpenStreams,
    private readonly store: EventStore,
    private readonly tail: EventTail,
  ) {}

  /** @throws {WireFault} `too-many-connections` */
  @ApiOperation({ summary: 'What happens to agents, commands, receipts and connections, as server-sent events' })
  @ApiHeader({
    name: 'Last-Event-ID',
    required: false,
    description: 'Goes on behind this event, whatever `after` says',
  })
  @ApiProduces('text/event-stream')
  @Get()
  stream(
    @Query() { after }: EventsQuery,
    @Headers('last-event-id') last: string | undefined,
    @Res() response: ServerResponse,
  ): Promise<void> {
    const asked = last !== undefined && CURSOR.test(last) ? last : after;
    return this.streams.serve(
      response,
      () => this.start(asked),
      (stream, start) => this.tell(stream, start),
    );
  }

  private async start(asked: string | undefined): Promise<Start> {
    const head = await this.store.head();
    const cursor = asked === undefined ? head : BigInt(asked);
    return cursor > head ? { cursor: head, isAhead: true } : { cursor, isAhead: false };
  }

  private async tell(stream: EventStream, { cursor, isAhead }: Start): Promise<void> {
    const id = cursor.toString();
    // The record was set back, say from a backup: what the reader has seen since is not known here.
    if (isAhead) await stream.send({ id, event: 'gap', data: { next: id } });
    else await stream.send({ id, event: 'open', data: { cursor: id } });
    const once = new OnceTold();
    for await (const events of this.tail.follow(cursor, stream.signal)) {
      for (const event of events.filter((each) => once.isNew(each))) {
        await stream.send({ id: event.cursor, event: event.kind, data: event });
      }
    }
  }
}
