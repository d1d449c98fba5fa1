import { chmod, chown, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { once } from 'node:events';
import type { Inbox, NumberedMessage } from './inbox.js';
import { parseSubmission, standOf, type SentBack, type Stand, type Submission } from './submission.js';

const MOST_BYTES = 64 * 1024;
const MOST_SUBMISSIONS = 30;
const AFTER = /^\/messages\?after=([a-z0-9-]{0,63})$/;

/** How far an agent of a former life had come. */
interface Before {
  stand?: Stand;
  submissions?: number;
  refused?: SentBack | undefined;
}

/** The answer to a submission. */
export type SubmitAnswer = { accepted: true } | SubmitRefusal;

export interface SubmitRefusal extends SentBack {
  accepted: false;
  /** For the agent: what it can do about it. */
  text: string;
  /** Whether the agent can do something about it. */
  mendable: boolean;
  /** Commit that the work can be brought up to, after a conflict. */
  onto?: string;
}

/** No fault of the work, so that nobody is told that the agent has failed by it. */
const UNREAD: SubmitRefusal = {
  accepted: false,
  code: 'message-unread',
  sentence: 'The operator has written to the agent.',
  text: 'The operator has written to you meanwhile: read that first, do what it asks, then submit again.',
  mendable: true,
};

/**
 * What judges a submission: as it will be judged at the agent's end, but nothing is committed. It is told how many there were,
 * this one among them.
 */
export type Judge = (submission: Submission, trial: Trial, submissions: number) => Promise<SubmitAnswer>;

export interface Trial {
  /** Aborted when the agent's end is there. */
  signal: AbortSignal;
  /** Takes what still reads the work tree, so that nothing removes that meanwhile. */
  hold: (reading: Promise<unknown>) => void;
}

/**
 * A socket at which an agent submits and hears at once what is wrong, so that it can mend it and submit again. An agent that
 * does not ask is judged at its end all the same.
 */
export class SubmitDesk {
  private readonly closing = new AbortController();
  private reading: Promise<unknown> = Promise.resolve();
  private isBusy = false;

  private constructor(
    private readonly server: Server,
    private readonly socketPath: string,
    private readonly judge: Judge,
    private readonly inbox: Inbox,
    private standing: Stand,
    private count: number,
    private refusal: SentBack | undefined,
  ) {}

  /**
   * Resolves once the agent can connect.
   *
   * @param gid group of the agent. @param inbox what the agent may ask for here. @param before how far it had come
   */
  static async open(
    socketPath: string,
    gid: number,
    judge: Judge,
    inbox: Inbox,
    { stand = {}, submissions = 0, refused }: Before = {},
  ): Promise<SubmitDesk> {
    const server = createServer({ headersTimeout: 10_000, requestTimeout: 30_000, maxHeaderSize: 8 * 1024 });
    server.maxConnections = 4;
    const desk = new SubmitDesk(server, socketPath, judge, inbox, stand, submissions, refused);
    server.on('request', (request, response) => void desk.serve(request, response));
    await rm(socketPath, { force: true });
    server.listen(socketPath);
    try {
      await once(server, 'listening');
      if (process.getuid?.() === 0) await chown(socketPath, 0, gid);
      await chmod(socketPath, 0o660);
    } catch (error) {
      server.close();
      throw error;
    }
    return desk;
  }

  /** Where the last submission stands that did not itself conflict, whether or not it was accepted. */
  get stand(): Stand {
    return this.standing;
  }

  /** Why the last submission was sent back; undefined where it was accepted, or there was none. */
  get refused(): SentBack | undefined {
    return this.refusal;
  }

  /** Ends what runs; afterwards nothing here reads the work tree. May be repeated. */
  async close(): Promise<void> {
    this.closing.abort();
    this.inbox.end();
    this.server.close();
    this.server.closeAllConnections();
    await this.reading;
    await rm(this.socketPath, { force: true });
  }

  private async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const asked = request.method === 'GET' ? this.messages(request) : this.answer(request);
    const [status, answer] = await asked.catch((error: unknown): [number, SubmitAnswer] => [
      400,
      {
        accepted: false,
        code: 'validation',
        sentence: '',
        mendable: false,
        text: error instanceof Error ? error.message : 'not understood',
      },
    ]);
    if (response.destroyed) return;
    response.writeHead(status, { 'content-type': 'application/json', connection: 'close' });
    response.end(JSON.stringify(answer));
  }

  /** What the operator has written since the agent asked last. */
  private async messages({ url = '' }: IncomingMessage): Promise<[number, { messages: readonly NumberedMessage[] }]> {
    const after = AFTER.exec(url)?.[1];
    if (after === undefined) throw new Error('only GET /messages?after=MESSAGE is offered');
    return [200, { messages: this.inbox.takeAfter(after) }];
  }

  private async answer(request: IncomingMessage): Promise<[number, SubmitAnswer]> {
    if (request.method !== 'POST' || request.url !== '/submit') throw new Error('only POST /submit is offered');
    if (this.isBusy) throw new Error('another submission is being judged');
    if (this.count >= MOST_SUBMISSIONS) throw new Error('there were too many submissions');
    this.isBusy = true;
    try {
      const submission = parseSubmission(await bodyOf(request));
      this.count += 1;
      this.standing = standOf(submission);
      const hold = (reading: Promise<unknown>): void => {
        this.reading = reading.catch(() => undefined);
      };
      const answer = await this.judge(submission, { signal: this.closing.signal, hold }, this.count);
      // One that the agent's end breaks off says nothing of the work.
      if (!this.closing.signal.aborted) this.refusal = answer.accepted ? undefined : answer;
      if (isConflict(answer)) this.standing = {};
      // Asked once it is judged: from here to the closed inbox nothing can come in between.
      if (answer.accepted && this.inbox.hasWaiting) return [200, UNREAD];
      this.inbox.setClosed(answer.accepted);
      return [200, answer];
    } finally {
      this.isBusy = false;
    }
  }
}

/** What is said to stand there does not. */
export function isConflict(answer: SubmitAnswer): boolean {
  return !answer.accepted && answer.code === 'merge-conflict';
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MOST_BYTES) throw new Error('the submission is too long');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
