import { IsIn, IsInt, IsNumber, IsOptional, IsPositive, IsString, Matches, Max, Min } from 'class-validator';

const absolute = { message: '$property must be an absolute path' };

const ROLES = /^(?:worker|reviewer|tester)(?:,(?:worker|reviewer|tester))*$/;

/** Every variable that the orchestrator reads; see `settings.ts` for what they become. */
export class Environment {
  /** The instance's directory: keys, policy, sockets, repositories. */
  @Matches(/^\//, absolute)
  CAPSTAN_INSTANCE_DIR!: string;

  /** URL of the instance's Valkey. */
  @IsOptional()
  @IsString()
  CAPSTAN_VALKEY_URL?: string;

  /** Read where CAPSTAN_VALKEY_URL is not set. */
  @IsOptional()
  @IsString()
  VALKEY_URL?: string;

  /** Socket path, port or host:port; default `run/orchestrator.sock` in the instance's directory. */
  @IsOptional()
  @IsString()
  CAPSTAN_ORCHESTRATOR_LISTEN?: string;

  /** The key of the provider `anthropic`; it never leaves this process but to the model. */
  @IsOptional()
  @IsString()
  ANTHROPIC_API_KEY?: string;

  /** Read where ANTHROPIC_API_KEY is not set. */
  @IsOptional()
  @IsString()
  CLAUDE_API_KEY?: string;

  /** Upstream of the provider `anthropic`. */
  @IsOptional()
  @Matches(/^https?:\/\//, { message: '$property must be an http or https URL' })
  CAPSTAN_ANTHROPIC_URL?: string;

  /** Default: anthropic where there is a key, else scripted. */
  @IsOptional()
  @IsIn(['anthropic', 'scripted'])
  CAPSTAN_MODEL_PROVIDER?: 'anthropic' | 'scripted';

  /**
   * `deterministic`: every agent is answered by playbook; `claude`: every one by the model; `hybrid`: by role. Default: as the
   * provider says.
   */
  @IsOptional()
  @IsIn(['deterministic', 'claude', 'hybrid'])
  CAPSTAN_EXECUTION_MODE?: 'deterministic' | 'claude' | 'hybrid';

  /** Only `hybrid`: roles that the model answers (`worker,reviewer,tester`); default all that are not excluded. */
  @IsOptional()
  @Matches(ROLES, { message: '$property must be roles, separated by commas' })
  CAPSTAN_CLAUDE_ROLES?: string;

  /** Only `hybrid`: roles that the model does not answer, whatever else is said. */
  @IsOptional()
  @Matches(ROLES, { message: '$property must be roles, separated by commas' })
  CAPSTAN_CLAUDE_EXCLUDED_ROLES?: string;

  /** Where `node` and `agent.mjs` lie for the sandboxes: owned by root, traversable by everybody. */
  @Matches(/^\//, absolute)
  CAPSTAN_RUNTIME_DIR!: string;

  /** First host uid of agents where the orchestrator runs as root. */
  @IsInt()
  @Min(1000)
  @Max(4_000_000_000)
  CAPSTAN_AGENT_UID_BASE: number = 200_000;

  /** Memory of one agent, bytes. */
  @IsInt()
  @Min(64 * 1024 * 1024)
  CAPSTAN_AGENT_MEMORY_BYTES: number = 2 * 1024 * 1024 * 1024;

  /** Processes and threads of one agent. */
  @IsInt()
  @Min(16)
  CAPSTAN_AGENT_PIDS: number = 512;

  /** Processors' worth of time of one agent. */
  @IsNumber()
  @IsPositive()
  CAPSTAN_AGENT_CPUS: number = 2;

  /** Bytes on the disk that one agent may add to its work tree; a build with its dependencies fits into the default. */
  @IsInt()
  @Min(1024 * 1024)
  CAPSTAN_AGENT_DISK_BYTES: number = 10 * 1024 * 1024 * 1024;

  /** Files, directories and links that one agent may add to its work tree. */
  @IsInt()
  @Min(1000)
  CAPSTAN_AGENT_DISK_ENTRIES: number = 1_000_000;

  /** `docker` lets Docker run agents, and take in their work, where the policy names it; `bubblewrap` stays for those that ask for it. */
  @IsIn(['bubblewrap', 'docker'])
  CAPSTAN_SANDBOX: 'bubblewrap' | 'docker' = 'bubblewrap';

  /** Docker's unix socket. */
  @Matches(/^\//, absolute)
  CAPSTAN_DOCKER_SOCKET: string = '/var/run/docker.sock';

  /** Image of agents for Docker; default one that is made of this host's own programs. */
  @IsOptional()
  @IsString()
  CAPSTAN_AGENT_IMAGE?: string;

  /** The coordinator's address; no gate asks it yet. */
  @IsOptional()
  @IsString()
  COORDINATOR_URL?: string;

  /** Days for which the record and the log of an ended agent are kept. */
  @IsInt()
  @Min(1)
  @Max(3650)
  CAPSTAN_KEEP_DAYS: number = 30;

  /** Agents that may wait and run at once; more are refused with `queue-unavailable`. */
  @IsInt()
  @Min(1)
  CAPSTAN_QUEUE_LIMIT: number = 50_000;
}
