import { Type } from 'class-transformer';
import {
  ArrayMaxSize,
  IsArray,
  IsBase64,
  IsInt,
  IsNotEmpty,
  IsOptional,
  IsString,
  Matches,
  Max,
  MaxLength,
  Min,
  ValidateNested,
} from 'class-validator';
import { CURSOR, EVENT_KINDS } from '../../valkey/agent.events.js';

const ID = /^[a-z0-9-]{1,63}$/;
const KINDS = new RegExp(`^(?:${EVENT_KINDS.join('|')})(?:,(?:${EVENT_KINDS.join('|')}))*$`);

/** What the spoke has opened; for the agent's environment only. */
export class SecretDto {
  @IsString()
  @MaxLength(127)
  name!: string;

  @IsString()
  @MaxLength(32_768)
  value!: string;
}

/** A signed command. */
export class CommandDto {
  /** A serialized Envelope. */
  @IsString()
  @IsNotEmpty()
  @IsBase64()
  envelope!: string;

  @IsOptional()
  @IsArray()
  @ArrayMaxSize(32)
  @ValidateNested({ each: true })
  @Type(() => SecretDto)
  secrets?: SecretDto[];

  /** A serialized Envelope with the hub's admission, of a command that the hub has not signed itself. */
  @IsOptional()
  @IsString()
  @IsNotEmpty()
  @IsBase64()
  admission?: string;
}

/** Why somebody is killed; for the record. */
export class KillDto {
  @IsOptional()
  @IsString()
  @MaxLength(500)
  reason?: string;
}

/** Everything of the instance, or of one tenant here. */
export class KillAllDto extends KillDto {
  @IsOptional()
  @Matches(ID, { message: '$property must be the id of a tenant' })
  tenant?: string;
}

/** What the operator tells a running agent. */
export class MessageDto {
  /** The same one, repeated, is delivered once. Default: a new one. */
  @IsOptional()
  @Matches(ID, { message: '$property must match [a-z0-9-]{1,63}' })
  messageId?: string;

  @IsString()
  @MaxLength(20_000)
  @Matches(/\S/, { message: '$property must not be empty' })
  text!: string;
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

  /** What the lines may have together, as JSON; one line always fits. */
  @IsOptional()
  @Type(() => Number)
  @IsInt()
  @Min(1)
  mostBytes: number = 16 * 1024 * 1024;

  /** How long to wait where there is no such line yet, milliseconds. */
  @IsOptional()
  @Type(() => Number)
  @IsInt()
  @Min(0)
  @Max(30_000)
  waitMs: number = 0;
}

export class ListQuery {
  /** The last agent of the page before. */
  @IsOptional()
  @Matches(ID, { message: '$property must be the id of an agent' })
  after?: string;

  @IsOptional()
  @Type(() => Number)
  @IsInt()
  @Min(1)
  @Max(1000)
  limit: number = 1000;
}

export class EventsQuery {
  /** Cursor of the last event that was seen; 0 for the beginning. */
  @IsOptional()
  @Matches(CURSOR, { message: '$property must be a cursor of an earlier event, or 0' })
  after: string = '0';

  /** Of this agent only. */
  @IsOptional()
  @Matches(ID, { message: '$property must be the id of an agent' })
  agent?: string;

  /** Of the agents of this task only. */
  @IsOptional()
  @Matches(ID, { message: '$property must be the id of a task' })
  task?: string;

  /** Of these kinds only, separated by commas. */
  @IsOptional()
  @Matches(KINDS, { message: `$property must be some of ${EVENT_KINDS.join(', ')}, separated by commas` })
  kinds?: string;
}
