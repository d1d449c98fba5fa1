import { Type } from 'class-transformer';
import { IsBase64, IsInt, IsNotEmpty, IsOptional, IsString, Matches, Max, MaxLength, Min } from 'class-validator';
import { CURSOR } from '../../valkey/agent.events.js';

/** A signed command. */
export class CommandDto {
  /** A serialized Envelope. */
  @IsString()
  @IsNotEmpty()
  @IsBase64()
  envelope!: string;
}

/** Why somebody is killed; for the record. */
export class KillDto {
  @IsOptional()
  @IsString()
  @MaxLength(500)
  reason?: string;
}

export class LogQuery {
  /** Sequence of the last line that was seen. */
  @IsOptional()
  @Type(() => Number)
  @IsInt()
  @Min(0)
  after: number = 0;

  @IsOptional()
  @Type(() => Number)
  @IsInt()
  @Min(1)
  @Max(5000)
  limit: number = 500;
}

export class EventsQuery {
  /** Cursor of the last event that was seen; 0 for the beginning. */
  @IsOptional()
  @Matches(CURSOR, { message: '$property must be a cursor of an earlier event, or 0' })
  after: string = '0';
}
