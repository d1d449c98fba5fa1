import { crc32 } from 'node:zlib';

/**
 * One group commit of the register: `magic, generation, sequence, length, crc (u32 BE each), payload`, padded with
 * zeros to 8 bytes. The CRC covers generation, sequence, length and payload.
 */
export interface Frame {
  /** Grows by one with every rewrite of the register. */
  generation: number;
  /** From 0, without gaps, within a generation; frame 0 is the state at the rewrite. */
  sequence: number;
  payload: Buffer;
}

const MAGIC = 0x43524631; // CRF1
const HEAD_BYTES = 20;
const ALIGNMENT = 8;

export function frameBytes(payloadBytes: number): number {
  return Math.ceil((HEAD_BYTES + payloadBytes) / ALIGNMENT) * ALIGNMENT;
}

export function encodeFrame(frame: Frame): Buffer {
  const bytes = Buffer.alloc(frameBytes(frame.payload.length));
  bytes.writeUInt32BE(MAGIC, 0);
  bytes.writeUInt32BE(frame.generation, 4);
  bytes.writeUInt32BE(frame.sequence, 8);
  bytes.writeUInt32BE(frame.payload.length, 12);
  frame.payload.copy(bytes, HEAD_BYTES);
  bytes.writeUInt32BE(checksum(bytes, frame.payload.length), 16);
  return bytes;
}

/** The frame that begins at `at`, or null if there is no whole one. */
export function decodeFrame(area: Buffer, at: number): Frame | null {
  if (at + HEAD_BYTES > area.length || area.readUInt32BE(at) !== MAGIC) return null;
  const length = area.readUInt32BE(at + 12);
  if (at + HEAD_BYTES + length > area.length) return null;
  const bytes = area.subarray(at, at + HEAD_BYTES + length);
  if (bytes.readUInt32BE(16) !== checksum(bytes, length)) return null;
  return { generation: bytes.readUInt32BE(4), sequence: bytes.readUInt32BE(8), payload: bytes.subarray(HEAD_BYTES) };
}

export interface AreaContent {
  generation: number;
  payloads: Buffer[];
  /** Where the next frame goes. */
  end: number;
  /** Bytes at `end` that are the beginning of a frame that was never whole: a write that a crash cut off. */
  torn: boolean;
}

/** Frames from the area's beginning; null if it holds none. Throws FrameLost if a whole frame lies beyond a broken one. */
export function readArea(area: Buffer): AreaContent | null {
  const first = decodeFrame(area, 0);
  if (first?.sequence !== 0) return null;
  const { generation } = first;
  const payloads: Buffer[] = [];
  let at = 0;
  for (;;) {
    const frame = decodeFrame(area, at);
    if (frame?.generation !== generation || frame.sequence !== payloads.length) break;
    // A copy: the area's buffer is used again.
    payloads.push(Buffer.from(frame.payload));
    at += frameBytes(frame.payload.length);
  }
  // A frame is written only when the one before it is on disk: one beyond a broken frame means damage, not a crash.
  const beyond = newestFrame(area, at);
  if (beyond?.generation === generation && beyond.sequence >= payloads.length) throw new FrameLost(at);
  const torn = at + 4 <= area.length && area.readUInt32BE(at) === MAGIC && isOf(area, at, generation);
  return { generation, payloads, end: at, torn };
}

/** The frame of the highest generation and sequence that lies anywhere from `from` on. */
export function newestFrame(area: Buffer, from: number): Frame | null {
  let newest: Frame | null = null;
  for (let at = from; at + HEAD_BYTES <= area.length; at += ALIGNMENT) {
    const frame = area.readUInt32BE(at) === MAGIC ? decodeFrame(area, at) : null;
    if (frame !== null && (newest === null || isNewer(frame, newest))) newest = frame;
  }
  return newest;
}

export class FrameLost extends Error {
  constructor(readonly at: number) {
    super(`a frame is damaged at byte ${String(at)}`);
  }
}

function isNewer(a: Frame, b: Frame): boolean {
  return a.generation > b.generation || (a.generation === b.generation && a.sequence > b.sequence);
}

function isOf(area: Buffer, at: number, generation: number): boolean {
  return at + 8 <= area.length && area.readUInt32BE(at + 4) === generation;
}

function checksum(frame: Buffer, length: number): number {
  return crc32(frame.subarray(HEAD_BYTES, HEAD_BYTES + length), crc32(frame.subarray(4, 16)));
}
