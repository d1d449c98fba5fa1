/** The apps that run as processes of a mesh; the reaper is the orchestrator's. */
export const APPS = ['hub', 'spoke', 'orchestrator'] as const;
export type AppName = (typeof APPS)[number];

/** The project of nest-cli.json that a file belongs to, or `agent`; undefined where it is no source of ours. */
export function projectOf(file: string): string | undefined {
  if (!file.endsWith('.ts') || file.endsWith('.spec.ts')) return undefined;
  return /^(?:apps|libs)\/([a-z]+)\/src\//.exec(file)?.[1];
}

/** Whether an app runs what these projects hold: itself, or a library. The agent is what the next spawn runs. */
export function builtBy(app: AppName, projects: readonly string[]): boolean {
  const others: readonly string[] = [...APPS, 'agent', 'cli'];
  return projects.some((project) => project === app || !others.includes(project));
}

/** Work that runs once at a time; what comes meanwhile is gathered for the next turn. A turn that throws is told of. */
export function inTurn(
  work: (files: ReadonlySet<string>) => Promise<void>,
  failed: (error: unknown) => void,
): {
  (file: string): void;
  settled: () => Promise<void>;
} {
  const waiting = new Set<string>();
  let running: Promise<void> | undefined;
  const run = async (): Promise<void> => {
    try {
      while (waiting.size > 0) {
        const files = new Set(waiting);
        waiting.clear();
        await work(files).catch(failed);
      }
    } finally {
      running = undefined;
    }
  };
  const add = (file: string): void => {
    waiting.add(file);
    running ??= run();
  };
  return Object.assign(add, { settled: async () => running });
}
