import { Type } from 'class-transformer';
import {
  ArrayMaxSize,
  ArrayMinSize,
  IsArray,
  IsIn,
  IsInt,
  IsOptional,
  IsString,
  Length,
  Matches,
  Max,
  MaxLength,
  Min,
  ValidateNested,
  IsDefined,
  Equals,
} from 'class-validator';

const ID = /^[a-z0-9-]{1,63}$/;
const ID_MESSAGE = { message: '$property must match [a-z0-9-]{1,63}' };
const DAY_MS = 24 * 60 * 60 * 1000;
const MOST_WAIT_MS = 30_000;

/** What the target's own policy decides is not judged here: these are the shapes that a command can carry. */
class ContextDto {
  @IsString()
  @Length(1, 4096)
  repository!: string;

  @IsOptional()
  @IsString()
  @MaxLength(255)
  branch?: string;

  @IsArray()
  @ArrayMinSize(1)
  @ArrayMaxSize(100)
  @IsString({ each: true })
  @MaxLength(20_000, { each: true })
  workItems!: string[];

  @IsOptional()
  @IsArray()
  @ArrayMaxSize(100)
  @IsString({ each: true })
  @MaxLength(200, { each: true })
  skills?: string[];
}

class OptionsDto {
  @IsOptional()
  @IsString()
  @MaxLength(63)
  sandbox?: string;

  @IsOptional()
  @IsInt()
  @Min(0)
  timeoutMs?: number;

  @IsOptional()
  @IsInt()
  @Min(0)
  @Max(10)
  maxRetries?: number;

  @IsOptional()
  @IsInt()
  @Min(1)
  @Max(10)
  priority?: number;

  @IsOptional()
  @IsInt()
  @Min(0)
  budgetMicroUsd?: number;

  @IsOptional()
  @IsString()
  @MaxLength(200)
  model?: string;

  @IsOptional()
  @IsString()
  @MaxLength(200)
  playbook?: string;
}

class OnHubLostDto {
  @IsOptional()
  @IsInt()
  @Min(10_000)
  @Max(7 * DAY_MS)
  killAfterMs?: number;

  @IsOptional()
  @Equals(true)
  keep?: true;
}

export class TargetQuery {
  /** The instance that is ordered. */
  @Matches(ID, ID_MESSAGE)
  target!: string;

  @IsOptional()
  @Matches(ID, ID_MESSAGE)
  tenant?: string;

  /** How long the answer is waited for. */
  @IsOptional()
  @Type(() => Number)
  @IsInt()
  @Min(0)
  @Max(MOST_WAIT_MS)
  waitMs?: number;
}

export class PeerSpawnDto extends TargetQuery {
  @IsOptional()
  @Matches(ID, ID_MESSAGE)
  agentId?: string;

  @IsOptional()
  @Matches(ID, ID_MESSAGE)
  taskId?: string;

  @IsIn(['worker', 'reviewer', 'tester'])
  agentType!: 'worker' | 'reviewer' | 'tester';

  @IsOptional()
  @Matches(ID, ID_MESSAGE)
  runtime?: string;

  @IsDefined()
  @ValidateNested()
  @Type(() => ContextDto)
  context!: ContextDto;

  @IsOptional()
  @ValidateNested()
  @Type(() => OptionsDto)
  options?: OptionsDto;

  /** Exactly one of its fields. */
  @IsOptional()
  @ValidateNested()
  @Type(() => OnHubLostDto)
  onHubLost?: OnHubLostDto;

  /** Until when the target may take it. */
  @IsOptional()
  @IsInt()
  @Min(1_000)
  @Max(DAY_MS)
  expiresInMs?: number;
}

export class PeerKillDto extends TargetQuery {
  /** For the record. */
  @IsOptional()
  @IsString()
  @MaxLength(500)
  reason?: string;
}
