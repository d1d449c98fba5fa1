import { setTimeout as pause } from 'node:timers/promises';
import { HubProblem } from '@capstan/localmesh';
import type { ServerSentEvent } from '@capstan/protocol';

const PAUSE_MS = { min: 500, max: 5_000 };

/**
 * The events of a stream that is opened again wherever it breaks, behind the last event that came. Ends only once
 * `signal` is aborted.
 *
 * @param open gives the stream from behind a cursor on; undefined before the first event
 * @param onBreak hears of each break
 * @throws HubProblem where the hub refuses for good, and whatever the first attempt throws
 */
export async function* resumed(
  open: (after: string | undefined) => AsyncIterable<ServerSentEvent>,
  { after, signal, onBreak }: { after: string | undefined; signal: AbortSignal; onBreak: () => void },
): AsyncGenerator<ServerSentEvent> {
  let cursor = after;
  let isFirst = true;
  for (let attempt = 0; !signal.aborted; attempt += 1) {
    try {
      for await (const event of open(cursor)) {
        if (event.id !== '') cursor = event.id;
        isFirst = false;
        attempt = 0;
        yield event;
      }
    } catch (error) {
      if (signal.aborted) return;
      // What is refused now, a moment after it was allowed, may be allowed again once the hub is up.
      if (isFirst || (error instanceof HubProblem && error.status < 500 && error.status !== 429)) throw error;
    }
    if (signal.aborted) return;
    if (attempt === 0) onBreak();
    await pause(Math.min(PAUSE_MS.max, PAUSE_MS.min * 2 ** attempt), undefined, { signal }).catch(() => undefined);
  }
}
