import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import { text } from 'node:stream/consumers';

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
}

/**
 * Asks whether the work would be taken as it is.
 *
 * @returns undefined where nobody answers here: then the work is judged at the end alone.
 * @throws AbortError
 */
export async function askDesk(
  socketPath: string,
  submission: Submission,
  signal: AbortSignal,
): Promise<SubmitAnswer | undefined> {
  const asked = request({ socketPath, method: 'POST', path: '/submit', signal });
  asked.end(JSON.stringify(submission));
  try {
    const [response] = (await once(asked, 'response')) as [IncomingMessage];
    const answer = JSON.parse(await text(response)) as Record<string, unknown>;
    const { accepted, text: why, mendable } = answer;
    return { accepted: accepted === true, text: typeof why === 'string' ? why : '', mendable: mendable === true };
  } catch (error) {
    signal.throwIfAborted();
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ECONNREFUSED') return undefined;
    return { accepted: false, text: 'The work could not be judged just now; submit again.', mendable: false };
  }
}
