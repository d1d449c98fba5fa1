import type { LogPageView } from '@capstan/localmesh';
import { ExitCode } from '../exit-codes.js';
import { resumed } from '../live/resumed.js';
import { openContext } from '../open-context.js';
import type { Output } from '../output/output.js';
import { Interruption } from './interruption.js';

/** Shows an agent's log as it grows, until the agent has ended; goes on by itself after a cut, and says what is missing. */
export async function follow(output: Output, id: string, options: { context?: string; after?: number }): Promise<void> {
  const { client } = await openContext(options);
  using interruption = new Interruption();
  const { signal } = interruption;
  const after = options.after === undefined ? undefined : String(options.after);
  const onBreak = (): void => output.note('(the stream broke off; it goes on where it was)');
  for await (const { event, data } of resumed((from) => client.logStream(id, from, signal), {
    after,
    signal,
    onBreak,
  })) {
    if (event === 'end') return;
    tell(output, id, event, JSON.parse(data) as unknown);
  }
  output.exitCode = ExitCode.interrupted;
}

function tell(output: Output, agentId: string, event: string, data: unknown): void {
  switch (event) {
    case 'lines':
      for (const line of (data as { lines: LogPageView['lines'] }).lines) {
        const { at, source, text } = line;
        output.item('log-line', { agentId, ...line }, [`${at}  ${source.padEnd(6)}  ${text}`]);
      }
      return;
    case 'gap': {
      const { after, next } = data as { after: number; next: number };
      output.item('log-gap', { agentId, after, next }, [
        `(lines ${String(after + 1)} to ${String(next - 1)} were dropped)`,
      ]);
      return;
    }
    case 'away':
      output.note('(the instance is away; the log goes on when it is back)');
      return;
    case 'back':
      output.note('(the instance is back)');
      return;
    default:
      // A later hub may tell more.
      return;
  }
}
