import { Type } from 'class-transformer';
import {
  ArrayMaxSize,
  ArrayNotEmpty,
  IsArray,
  IsIn,
  IsInt,
  IsNotEmpty,
  IsOptional,
  IsString,
  Length,
  Matches,
  Max,
  MaxLength,
  Min,
  ValidateNested,
} from 'class-validator';
import { MOST_RETRIES, type AgentRoleName } from '../../spawner/spawn-plan.js';

const ID = /^[a-z0-9-]{1,63}$/;
const id = { message: '$property must match [a-z0-9-]{1,63}' };
const LONGEST_NAME = 200;

/** Where the agent works and what it is to do. */
export class TaskContextDto {
  /** Path or URL as the owner's policy names it. */
  @IsString()
  @IsNotEmpty()
  @MaxLength(4096)
  repository!: string;

  /** Default: the repository's own default branch. */
  @IsOptional()
  @IsString()
  @MaxLength(LONGEST_NAME)
  branch?: string;

  @IsArray()
  @ArrayNotEmpty()
  @ArrayMaxSize(100)
  @IsString({ each: true })
  @Length(1, 20_000, { each: true })
  workItems!: string[];

  @IsOptional()
  @IsArray()
  @ArrayMaxSize(100)
  @IsString({ each: true })
  @Length(1, LONGEST_NAME, { each: true })
  skills?: string[];
}

/** How it is to run; what is left out is the owner's policy's. */
export class SpawnOptionsDto {
  @IsOptional()
  @IsString()
  @MaxLength(63)
  sandbox?: string;

  /** Wall-clock limit, milliseconds. */
  @IsOptional()
  @IsInt()
  @Min(1)
  timeout?: number;

  /** Retries of what fails before the agent runs. */
  @IsOptional()
  @IsInt()
  @Min(0)
  @Max(MOST_RETRIES)
  maxRetries?: number;

  /** 10 is most urgent. */
  @IsOptional()
  @IsInt()
  @Min(1)
  @Max(10)
  priority?: number;

  /** Spending cap, millionths of a US dollar. */
  @IsOptional()
  @IsInt()
  @Min(1)
  budgetMicroUsd?: number;

  @IsOptional()
  @IsString()
  @MaxLength(LONGEST_NAME)
  model?: string;

  /** Playbook of the scripted provider. */
  @IsOptional()
  @IsString()
  @MaxLength(LONGEST_NAME)
  playbook?: string;
}

/** The owner's own spawn (ORC-105). */
export class SpawnAgentDto {
  @Matches(ID, id)
  taskId!: string;

  /** Default: a new one. */
  @IsOptional()
  @Matches(ID, id)
  agentId?: string;

  @IsIn(['worker', 'reviewer', 'tester'])
  agentType!: AgentRoleName;

  @IsOptional()
  @IsString()
  @MaxLength(63)
  runtime?: string;

  @IsOptional()
  @Matches(ID, id)
  tenant?: string;

  @IsNotEmpty()
  @ValidateNested()
  @Type(() => TaskContextDto)
  context!: TaskContextDto;

  @IsOptional()
  @ValidateNested()
  @Type(() => SpawnOptionsDto)
  options?: SpawnOptionsDto;
}
