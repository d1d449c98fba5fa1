import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';

export interface Submission {
  summary: string;
  /** Commit that the work was brought up to, as the answer to an earlier submission named it. */
  onto?: string;
  by?: string;
}

/** What the instance says at once of a submission. */
export interface SubmitAnswer {
  accepted: boolean;
  /** Why not, and what can be done. */
  text: string;
  /** Whether other work could be accepted; else the end judges again. */
  mendable: boolean;
  /** Commit that the work can be brought up to, after a conflict. */
  onto?: string;
}

/** Pauses between two attempts; milliseconds. */
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 2_000;

/**
 * Asks whether the work would be taken as it is; as often as it takes, because an instance that restarts is back soon, judges
 * anew, and must not find that its agent has gone meanwhile.
 *
 * @throws AbortError
 */
export async function askDesk(socketPath: string, submission: Submission, signal: AbortSignal): Promise<SubmitAnswer> {
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
    try {
      return await askOnce(socketPath, submission, signal);
    } catch {
      signal.throwIfAborted();
      await delay(pauseMs, undefined, { signal });
    }
  }
}

/** @throws Error where there is no answer, or not the whole of one */
async function askOnce(socketPath: string, submission: Submission, signal: AbortSignal): Promise<SubmitAnswer> {
  const asked = request({ socketPath, method: 'POST', path: '/submit', signal });
  asked.end(JSON.stringify(submission));
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  const { accepted, text: why, mendable, onto } = JSON.parse(await text(response)) as Record<string, unknown>;
  return {
    accepted: accepted === true,
    text: typeof why === 'string' ? why : '',
    mendable: mendable === true,
    ...(typeof onto === 'string' ? { onto } : {}),
  };
}
