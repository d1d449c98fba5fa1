import type { HubEvent } from '@capstan/localmesh';
import { ExitCode } from '../exit-codes.js';
import { resumed } from '../live/resumed.js';
import { openContext } from '../open-context.js';
import type { Output } from '../output/output.js';
import { Interruption } from './interruption.js';

/** Shows what happens to agents, commands, receipts and connections until Ctrl-C; goes on by itself after a cut. */
export async function events(output: Output, options: { context?: string; after?: number }): Promise<void> {
  const { client } = await openContext(options);
  using interruption = new Interruption();
  const { signal } = interruption;
  const after = options.after === undefined ? undefined : String(options.after);
  const onBreak = (): void => output.note('(the stream broke off; it goes on where it was)');
  for await (const { event, data } of resumed((from) => client.events(from, signal), { after, signal, onBreak })) {
    if (event === 'open') continue;
    if (event === 'gap') output.note('(the hub’s record was set back; what this stream told last is not in it)');
    else tell(output, JSON.parse(data) as HubEvent);
  }
  output.exitCode = ExitCode.interrupted;
}

function tell(output: Output, event: HubEvent): void {
  const detail = Object.entries(event.detail).map(([name, value]) => `${name}=${String(value)}`);
  const line = [event.at, event.kind, event.subject, ...detail].join('  ');
  output.item('event', { event }, [line.replaceAll(/[\n\t]+/g, ' ')]);
}
