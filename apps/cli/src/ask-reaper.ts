import { connect } from 'node:net';
import {
  create,
  fromBinary,
  lengthPrefixed,
  LengthPrefixReader,
  LocalFault,
  type MessageInitShape,
  ReaperReplySchema,
  ReaperRequestSchema,
  type RearmSchema,
  toBinary,
} from '@capstan/protocol';

const ANSWER_MS = 5_000;

/**
 * The owner's re-arming on the reaper's own socket.
 *
 * @returns the scope's kill epoch. @throws LocalFault `reaper-unavailable`, `reaper-malformed`
 */
export async function askReaper(path: string, rearm: MessageInitShape<typeof RearmSchema>): Promise<bigint> {
  const request = create(ReaperRequestSchema, { id: 1n, body: { case: 'rearm', value: rearm } });
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
  const frames = new LengthPrefixReader();
  const socket = connect(path);
  socket.setTimeout(ANSWER_MS, () => socket.destroy(new Error('no answer')));
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
    const { body } = fromBinary(ReaperReplySchema, await promise);
    if (body.case === 'rearmed') return body.value.epoch;
    throw new LocalFault('reaper-malformed', 'The reaper has refused to re-arm.', body.case);
  } catch (cause) {
    if (cause instanceof LocalFault) throw cause;
    throw new LocalFault('reaper-unavailable', 'The reaper of this instance does not answer.', path, { cause });
  } finally {
    socket.destroy();
  }
}
