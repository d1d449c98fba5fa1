import { create, decodeStrict, type Frame, FrameSchema, toBinary, WireFault } from '@capstan/protocol';

type Body = Exclude<Frame['body'], { case: undefined }>;
export type FrameCase = Body['case'];
export type FrameOf<C extends FrameCase> = Extract<Body, { case: C }>['value'];

export function encodeFrame(body: Body): Uint8Array {
  return toBinary(FrameSchema, create(FrameSchema, { body }));
}

/** Throws WireFault frame-malformed for anything that is not exactly one known frame. */
export function decodeFrame(bytes: Uint8Array): Body {
  const { body } = read(bytes);
  if (body.case === undefined) throw new WireFault('frame-malformed', 'empty frame');
  return body;
}

function read(bytes: Uint8Array): Frame {
  try {
    return decodeStrict(FrameSchema, bytes);
  } catch (cause) {
    throw new WireFault('frame-malformed', 'not a frame', { cause });
  }
}
