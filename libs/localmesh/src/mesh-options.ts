/** Who answers the agents' model requests. */
export type MeshModel = { provider: 'scripted' } | { provider: 'anthropic'; apiKey: string; url?: string };

/** One long step of a start: told when it begins, and once more when it is done. */
export interface MeshStep {
  name: string;
  state: 'started' | 'done' | 'failed';
  /** Milliseconds that it took; 0 while it is under way. */
  ms: number;
}

export interface MeshOptions {
  /** Kept afterwards. Absent: a temporary one, removed on stop. */
  stateDir?: string;
  /** Ids of the instances; default one, `quay`. */
  instances?: readonly string[];
  /** Path or URL that becomes a bare remote on this machine; see `Mesh.repository`. */
  repository?: string;
  /** 0, the default: any free port. It is the first hub's; the others take any. */
  hubPort?: number;
  /**
   * Hub processes, default 1. More than one are replicas: one id and state directory, one PostgreSQL, and a Valkey of
   * their own (database of `valkeyUrl` where that is given; publish and subscribe know no databases, so it must not carry
   * another hub of the same id).
   */
  hubs?: number;
  /** Indexes of the hubs that an instance dials, in this order; default all of them, each instance with another one first. */
  dials?: Readonly<Record<string, readonly number[]>>;
  /** The hub serves https and wss, pinned by everybody; the same at each start of one state directory. */
  tls?: boolean;
  /** Default: the scripted provider. */
  model?: MeshModel;
  /** A Valkey or Redis that somebody else runs; default one of our own per instance. */
  valkeyUrl?: string;
  /** What agents run in; default bubblewrap. Docker listens on `socketPath`; where agents may choose, see `policy.sandboxes`. */
  sandbox?: { driver: 'bubblewrap' } | { driver: 'docker'; socketPath?: string };
  /** Changes to the policy that is written at an instance's first start. */
  policy?: Partial<InstancePolicy>;
  /** Further environment of hub, spokes, orchestrators and reapers. */
  env?: Readonly<Record<string, string>>;
  /** Further environment of one process, by its name: "hub", "postgres", "quay/spoke". */
  envOf?: (process: string) => Readonly<Record<string, string>>;
  /** Gives up a start that is under way; everything that runs by then is ended. */
  signal?: AbortSignal;
  onStep?: (step: MeshStep) => void;
  /** A process died unasked and is being started again. */
  onRestart?: (name: string) => void;
}

/** What a new instance's owner allows; see the owner's policy in the platform room. */
export interface InstancePolicy {
  runtimes: string[];
  repositories: string[];
  tenants: string[];
  concurrency: number;
  budgetMicroUsd: number;
  taskBudgetMicroUsd?: number;
  tenantBudgetMicroUsdPerDay?: number;
  timeoutMs: number;
  sandboxes: string[];
}
