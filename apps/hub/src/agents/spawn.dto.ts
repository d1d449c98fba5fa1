import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { Type } from 'class-transformer';
import {
  ArrayMaxSize,
  ArrayMinSize,
  Equals,
  IsArray,
  IsDefined,
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
} from 'class-validator';

const ID = /^[a-z0-9-]{1,63}$/;
const ID_MESSAGE = { message: '$property must match [a-z0-9-]{1,63}' };
/** No NUL and no lone surrogate: neither PostgreSQL nor protobuf can hold them. */
const TEXT = /^[^\0\p{Surrogate}]*$/u;
const TEXT_MESSAGE = { message: '$property holds characters that are no text' };
const DAY_MS = 24 * 60 * 60 * 1000;
/** Leases are renewed every 5 s: one that a single delayed heartbeat ends would be no lease. */
const LEAST_KILL_AFTER_MS = 10_000;
const AGENT_TYPES = ['worker', 'reviewer', 'tester'] as const;

export class TaskContextDto {
  @ApiProperty({ description: "Path or URL of the repository as the instance's policy names it" })
  @IsString()
  @Length(1, 4096)
  @Matches(TEXT, TEXT_MESSAGE)
  repository!: string;

  @ApiPropertyOptional({ description: "Branch to start from; the repository's default branch unless told" })
  @IsOptional()
  @IsString()
  @MaxLength(255)
  @Matches(TEXT, TEXT_MESSAGE)
  branch?: string;

  @ApiProperty({ type: [String], description: 'What is to be done, one instruction each' })
  @IsArray()
  @ArrayMinSize(1)
  @ArrayMaxSize(100)
  @IsString({ each: true })
  @Length(1, 16_384, { each: true })
  @Matches(TEXT, { each: true, ...TEXT_MESSAGE })
  workItems!: string[];

  @ApiPropertyOptional({ type: [String] })
  @IsOptional()
  @IsArray()
  @ArrayMaxSize(50)
  @IsString({ each: true })
  @MaxLength(255, { each: true })
  @Matches(TEXT, { each: true, ...TEXT_MESSAGE })
  skills?: string[];
}

export class SpawnOptionsDto {
  @ApiPropertyOptional({ description: "Sandbox driver; the instance's default unless told" })
  @IsOptional()
  @Matches(ID, ID_MESSAGE)
  sandbox?: string;

  @ApiPropertyOptional({ description: 'Wall-clock limit of the run, milliseconds' })
  @IsOptional()
  @IsInt()
  @Min(1_000)
  @Max(7 * DAY_MS)
  timeoutMs?: number;

  @ApiPropertyOptional({ maximum: 10 })
  @IsOptional()
  @IsInt()
  @Min(0)
  @Max(10)
  maxRetries?: number;

  @ApiPropertyOptional({ minimum: 1, maximum: 10, default: 5, description: '10 is most urgent' })
  @IsOptional()
  @IsInt()
  @Min(1)
  @Max(10)
  priority?: number;

  @ApiPropertyOptional({ description: 'Spending cap in millionths of a US dollar' })
  @IsOptional()
  @IsInt()
  @Min(1)
  @Max(Number.MAX_SAFE_INTEGER)
  budgetMicroUsd?: number;

  @ApiPropertyOptional()
  @IsOptional()
  @Matches(/^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$/)
  model?: string;

  @ApiPropertyOptional({ description: 'Playbook of the scripted provider' })
  @IsOptional()
  @Matches(/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/)
  playbook?: string;
}

export class OnHubLostDto {
  @ApiPropertyOptional({
    minimum: LEAST_KILL_AFTER_MS,
    maximum: 7 * DAY_MS,
    description: 'Milliseconds without a renewed lease after which the agent is killed',
  })
  @IsOptional()
  @IsInt()
  @Min(LEAST_KILL_AFTER_MS)
  @Max(7 * DAY_MS)
  killAfterMs?: number;

  @ApiPropertyOptional({ description: 'The agent lives on without the hub' })
  @IsOptional()
  @Equals(true)
  keep?: true;
}

export class SpawnAgentDto {
  @ApiProperty({ description: 'The instance that is to run the agent' })
  @Matches(ID, ID_MESSAGE)
  instance!: string;

  @ApiPropertyOptional({ description: 'Named by the hub unless told' })
  @IsOptional()
  @Matches(ID, ID_MESSAGE)
  agentId?: string;

  @ApiPropertyOptional()
  @IsOptional()
  @Matches(ID, ID_MESSAGE)
  taskId?: string;

  @ApiProperty({ enum: AGENT_TYPES })
  @IsIn(AGENT_TYPES)
  agentType!: (typeof AGENT_TYPES)[number];

  @ApiPropertyOptional({ default: 'claude', description: 'Whether the instance offers it is for the instance to say' })
  @IsOptional()
  @Matches(ID, ID_MESSAGE)
  runtime?: string;

  @ApiPropertyOptional({ default: 'default' })
  @IsOptional()
  @Matches(ID, ID_MESSAGE)
  tenant?: string;

  @ApiProperty({ type: TaskContextDto })
  @IsDefined()
  @ValidateNested()
  @Type(() => TaskContextDto)
  context!: TaskContextDto;

  @ApiPropertyOptional({ type: SpawnOptionsDto })
  @IsOptional()
  @ValidateNested()
  @Type(() => SpawnOptionsDto)
  options?: SpawnOptionsDto;

  @ApiPropertyOptional({ type: OnHubLostDto, description: 'Exactly one of its fields; default {killAfterMs: 300000}' })
  @IsOptional()
  @ValidateNested()
  @Type(() => OnHubLostDto)
  onHubLost?: OnHubLostDto;

  @ApiPropertyOptional({
    description: 'How long the command may wait for its instance, milliseconds',
    default: 300_000,
  })
  @IsOptional()
  @IsInt()
  @Min(1_000)
  @Max(DAY_MS)
  expiresInMs?: number;
}
