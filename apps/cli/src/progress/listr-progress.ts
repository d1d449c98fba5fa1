import { Listr } from 'listr2';
import type { MeshStep } from '@capstan/localmesh';
import { terminalText } from '../output/terminal-text.js';
import { type Progress, seconds } from './progress.js';

/** Signals are the command's own business: by default listr2 would end the process in the middle of its work. */
const SETTINGS = { registerSignalListeners: false };

/** Live progress at a terminal. */
export class ListrProgress implements Progress {
  async run<T>(title: string, work: (say: (text: string) => void) => Promise<T>): Promise<T> {
    const startedAt = performance.now();
    let result: { value: T } | undefined;
    const list = new Listr(
      [
        {
          title,
          task: async (_, task) => {
            const say = (text: string): void => {
              task.output = terminalText(text);
            };
            result = { value: await work(say) };
            task.title = `${title} (${seconds(performance.now() - startedAt)})`;
          },
        },
      ],
      SETTINGS,
    );
    await list.run();
    if (result === undefined) throw new Error(`${title}: no result`);
    return result.value;
  }

  steps<T>(title: string, work: (onStep: (step: MeshStep) => void) => Promise<T>): Promise<T> {
    const open = new Set<string>();
    return this.run(title, (say) =>
      work(({ name, state }) => {
        if (state === 'started') open.add(name);
        else open.delete(name);
        say([...open].join(', '));
      }),
    );
  }
}
