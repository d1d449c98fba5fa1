import { connect } from 'node:net';
import {
  create,
  fromBinary,
  lengthPrefixed,
  LengthPrefixReader,
  LocalFault,
  type MessageInitShape,
  type ReaperReply,
  ReaperReplySchema,
  ReaperRequestSchema,
  toBinary,
} from '@capstan/protocol';

const ANSWER_MS = 5_000;

type ReaperQuestion = NonNullable<MessageInitShape<typeof ReaperRequestSchema>['body']>;

/**
 * One question of the owner's on the reaper's own socket.
 *
 * @param answerMs for how long an answer is awaited.
 * @throws LocalFault `reaper-unavailable`, `reaper-malformed` where it finds the question wrong
 */
export async function askReaper(
  path: string,
  body: ReaperQuestion,
  answerMs = ANSWER_MS,
): Promise<Exclude<ReaperReply['body'], { case: undefined }>> {
  const request = create(ReaperRequestSchema, { id: 1n, body });
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
  const frames = new LengthPrefixReader();
  const socket = connect(path);
  socket.setTimeout(answerMs, () => socket.destroy(new Error('no answer')));
  socket.on('connect', () => socket.write(lengthPrefixed(toBinary(ReaperRequestSchema, request))));
  socket.on('data', (chunk: Buffer) => {
    const [frame] = frames.push(chunk);
    if (frame !== undefined) resolve(frame);
  });
  socket.on('error', reject);
  socket.on('close', () => {
    reject(new Error('closed'));
  });
  try {
    const { body: answer } = fromBinary(ReaperReplySchema, await promise);
    if (answer.case !== undefined && answer.case !== 'malformed') return answer;
    throw new LocalFault('reaper-malformed', 'The reaper has refused the order.', answer.value?.sentence ?? '');
  } catch (cause) {
    if (cause instanceof LocalFault) throw cause;
    throw new LocalFault('reaper-unavailable', 'The reaper of this instance does not answer.', path, { cause });
  } finally {
    socket.destroy();
  }
}
