import { eachLine, startProgram, type ProgramStart, type ProgramWork } from './program-process.js';

/** What it prints last is its summary, of which so much is kept. */
const LONGEST_TAIL = 4_000;

/** A command: the task on its standard input, its end is its submission. For further work it is started anew. */
export class Attempts implements ProgramWork {
  constructor(private readonly start: ProgramStart) {}

  /** @returns the end of what it has printed */
  async work(again?: string): Promise<string> {
    const { prompt, say } = this.start;
    using process = startProgram(this.start);
    eachLine(process.stderr, say);
    let tail = '';
    eachLine(process.stdout, (line) => {
      tail = `${tail}${line}\n`.slice(-LONGEST_TAIL);
      say(line);
    });
    const before = 'You have worked on this task already, and the work tree is as you left it.';
    process.stdin.end(again === undefined ? prompt : [prompt, before, again].join('\n\n'));
    const end = await process.ended;
    if (end !== 0) throw new Error(`The program ended with ${String(end)}.`);
    return tail;
  }

  [Symbol.dispose](): void {
    // Each attempt has ended its own process.
  }
}
