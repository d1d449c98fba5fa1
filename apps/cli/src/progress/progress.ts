import type { MeshStep } from '@capstan/localmesh';

/** Shows long work while it is under way. */
export interface Progress {
  /** One piece of work; `say` tells how far it is. What it throws passes through. */
  run<T>(title: string, work: (say: (text: string) => void) => Promise<T>): Promise<T>;
  /** Steps that somebody else runs, several at once. */
  steps<T>(title: string, work: (onStep: (step: MeshStep) => void) => Promise<T>): Promise<T>;
}

/** One plain line for each thing that is done: for logs, pipes and screen readers. */
export class PlainProgress implements Progress {
  constructor(private readonly write: (line: string) => void) {}

  async run<T>(title: string, work: (say: (text: string) => void) => Promise<T>): Promise<T> {
    const startedAt = performance.now();
    this.write(`… ${title}`);
    try {
      const result = await work((text) => {
        this.write(`    ${text}`);
      });
      this.write(`✔ ${title} (${seconds(performance.now() - startedAt)})`);
      return result;
    } catch (error) {
      this.write(`✘ ${title}`);
      throw error;
    }
  }

  steps<T>(title: string, work: (onStep: (step: MeshStep) => void) => Promise<T>): Promise<T> {
    return this.run(title, (say) =>
      work(({ name, state, ms }) => {
        if (state === 'done') say(`✔ ${name} (${seconds(ms)})`);
        if (state === 'failed') say(`✘ ${name}`);
      }),
    );
  }
}

/** 1234 → "1.23 s" */
export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`;
}
