import { open, rename, unlink, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { LocalFault } from '@capstan/protocol';
import { encodeFrame, frameBytes, FrameLost, newestFrame, readArea, type AreaContent } from './frame.js';

export interface JournalOptions<Record> {
  /** The whole state as records; written at a rewrite, when an area is full. */
  snapshot: () => Record[];
  /** Size of each of the two areas, bytes. */
  areaBytes?: number;
}

export interface OpenedJournal<Record> {
  journal: Journal<Record>;
  /** What was on disk, oldest first. */
  records: Record[];
  /** True if the last write before a crash was not whole; it had not been acknowledged to anybody. */
  torn: boolean;
}

interface Position {
  area: 0 | 1;
  generation: number;
  sequence: number;
  end: number;
}

/** Room for more than two thousand kills. */
const AREA_BYTES = 4 * 1024 * 1024;

/** Where the state takes more than this share of an area, registrations are refused: what is left is for deaths. */
const RESERVED_FROM = 0.75;

/** Where it takes more than this, so are records that anybody can cause without end, without having started an agent. */
const CROWDED_FROM = 0.5;

/**
 * A file of records that is on disk in full length from the start, so that a full disk cannot stop a kill.
 *
 * Two areas take turns: when one is full, the whole state is written into the other as one frame, which either is
 * there whole or not at all. Appends that come together share one write and one fsync. After a write that failed the
 * whole state goes into the other area as well, at the next occasion: until that is on disk, nothing is.
 */
export class Journal<Record> {
  private waiting: { text: string | undefined; settle: (error?: Error) => void }[] = [];
  private flushing: Promise<void> | undefined;
  private failure: Error | undefined;
  private closed = false;
  /** Bytes that the state takes at most; exact if `isMeasured`. What is on its way to the disk counts. */
  private stateBytes: number;
  private isMeasured = false;

  private constructor(
    private readonly file: FileHandle,
    private readonly areaBytes: number,
    private readonly snapshot: () => Record[],
    private active: Position,
  ) {
    this.stateBytes = active.end;
  }

  /** Opens or makes the file. Throws LocalFault `register-damaged`: then nothing in it may be trusted. */
  static async open<Record>(file: string, options: JournalOptions<Record>): Promise<OpenedJournal<Record>> {
    const areaBytes = options.areaBytes ?? AREA_BYTES;
    let handle: FileHandle;
    try {
      handle = await open(file, 'r+');
    } catch (error) {
      if (!(typeof error === 'object' && error !== null && 'code' in error && error.code === 'ENOENT')) throw error;
      handle = await allocate(file, areaBytes);
    }
    try {
      const { area, content } = await currentArea(handle, file, areaBytes);
      const { generation, payloads, end, torn } = content;
      const active = { area, generation, sequence: payloads.length, end };
      const records = payloads.flatMap((payload) => JSON.parse(payload.toString('utf8')) as Record[]);
      return { journal: new Journal(handle, areaBytes, options.snapshot, active), records, torn };
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** Whether so little room is left, whatever a rewrite forgets, that it must be kept for deaths and kill-alls. */
  get isReserved(): boolean {
    return this.failure !== undefined || this.takesMoreThan(RESERVED_FROM);
  }

  /** Whether so little room is left that nothing may be stored that is no start, no death and no kill-all. */
  get isCrowded(): boolean {
    return this.takesMoreThan(CROWDED_FROM);
  }

  /**
   * Resolves when the record, which the state holds already, is on disk, and all before it. Rejects with LocalFault
   * `register-failed`; it may be written later all the same, as part of the state.
   */
  append(record: Record): Promise<void> {
    const text = JSON.stringify(record);
    this.stateBytes += Buffer.byteLength(text) + 1;
    this.isMeasured = false;
    return this.written(text);
  }

  /**
   * Resolves when everything appended so far is on disk; where that has failed, it is tried again.
   *
   * @throws LocalFault `register-failed`: what the state holds is on no disk, and nobody may be told of it
   */
  async settled(): Promise<void> {
    await this.flushing;
    if (this.failure !== undefined) await this.written(undefined);
  }

  /** Writes the state anew into the other area: what the state no longer holds is forgotten. */
  async rewrite(): Promise<void> {
    const payload = Buffer.from(JSON.stringify(this.snapshot()));
    this.stateBytes = frameBytes(payload.length);
    this.isMeasured = true;
    const generation = this.active.generation + 1;
    const area = this.active.area === 0 ? 1 : 0;
    if (frameBytes(payload.length) > this.areaBytes) {
      throw new LocalFault('register-full', 'The register of the reaper is full.', `${String(payload.length)} bytes`);
    }
    await this.write(area, 0, encodeFrame({ generation, sequence: 0, payload }));
    this.active = { area, generation, sequence: 1, end: frameBytes(payload.length) };
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    await this.flushing;
    await this.file.close();
  }

  private written(text: string | undefined): Promise<void> {
    const written = new Promise<void>((resolve, reject) => {
      this.waiting.push({ text, settle: (error) => (error === undefined ? resolve() : reject(error)) });
    });
    this.flushing ??= this.flush();
    return written;
  }

  private takesMoreThan(share: number): boolean {
    const most = this.areaBytes * share;
    if (this.stateBytes > most && !this.isMeasured) {
      this.stateBytes = frameBytes(Buffer.byteLength(JSON.stringify(this.snapshot())));
      this.isMeasured = true;
    }
    return this.stateBytes > most;
  }

  private async flush(): Promise<void> {
    // Records that arrive in this turn of the event loop join.
    await Promise.resolve();
    while (this.waiting.length > 0) {
      const batch = this.waiting;
      this.waiting = [];
      try {
        await this.commit(batch.flatMap(({ text }) => text ?? []));
        this.failure = undefined;
        for (const { settle } of batch) settle();
      } catch (error) {
        this.failure = new LocalFault('register-failed', 'The register cannot be written.', undefined, {
          cause: error,
        });
        for (const { settle } of batch) settle(this.failure);
      }
    }
    // In the same turn as the last look at `waiting`: a record that comes later starts a flush of its own.
    this.flushing = undefined;
  }

  private async commit(texts: string[]): Promise<void> {
    // What was to be written before is in memory alone: only the whole state brings it to disk.
    if (this.failure !== undefined) return this.rewrite();
    if (texts.length === 0) return;
    const payload = Buffer.from(`[${texts.join(',')}]`);
    const { area, generation, sequence, end } = this.active;
    if (end + frameBytes(payload.length) > this.areaBytes) {
      // The state in memory is ahead of the disk, so that a snapshot holds these records already.
      return this.rewrite();
    }
    await this.write(area, end, encodeFrame({ generation, sequence, payload }));
    this.active = { ...this.active, sequence: sequence + 1, end: end + frameBytes(payload.length) };
  }

  private async write(area: 0 | 1, at: number, bytes: Buffer): Promise<void> {
    const { bytesWritten } = await this.file.write(bytes, 0, bytes.length, area * this.areaBytes + at);
    if (bytesWritten !== bytes.length) throw new Error(`only ${String(bytesWritten)} bytes were written`);
    // No size or block changes, the file being allocated: its data is all there is to sync.
    await this.file.datasync();
  }
}

async function currentArea(
  handle: FileHandle,
  file: string,
  areaBytes: number,
): Promise<{ area: 0 | 1; content: AreaContent }> {
  const damaged = (why: string, cause?: unknown) =>
    new LocalFault(
      'register-damaged',
      'The register of the reaper is damaged. Stop the orchestrator (its agents end with it), then move the register away.',
      `${file}: ${why}`,
      { cause },
    );
  const { size } = await handle.stat();
  if (size !== 2 * areaBytes) throw damaged(`it has ${String(size)} bytes`);
  let best: { area: 0 | 1; content: AreaContent } | undefined;
  let newest = 0;
  let lost: FrameLost | undefined;
  const bytes = Buffer.alloc(areaBytes);
  for (const area of [0, 1] as const) {
    await handle.read(bytes, 0, areaBytes, area * areaBytes);
    newest = Math.max(newest, newestFrame(bytes, 0)?.generation ?? 0);
    try {
      const content = readArea(bytes);
      if (content !== null && content.generation > (best?.content.generation ?? 0)) best = { area, content };
    } catch (error) {
      if (!(error instanceof FrameLost)) throw error;
      lost = error;
    }
  }
  // Damage in the area that is no longer in use does no harm.
  if (best !== undefined && best.content.generation >= newest) return best;
  throw damaged(lost?.message ?? 'no state can be read', lost);
}

/** Writes zeros in full length, then the first frame, and only then gives the file its name. */
async function allocate(file: string, areaBytes: number): Promise<FileHandle> {
  const temporary = `${file}.new`;
  const handle = await open(temporary, 'w+', 0o600);
  try {
    const zeros = Buffer.alloc(64 * 1024);
    for (let at = 0; at < 2 * areaBytes; at += zeros.length) {
      await handle.write(zeros, 0, Math.min(zeros.length, 2 * areaBytes - at), at);
    }
    const first = encodeFrame({ generation: 1, sequence: 0, payload: Buffer.from('[]') });
    await handle.write(first, 0, first.length, 0);
    await handle.sync();
    await rename(temporary, file);
    await using directory = await open(dirname(file), 'r');
    await directory.sync();
    return handle;
  } catch (error) {
    await handle.close();
    await unlink(temporary).catch(() => undefined);
    throw new LocalFault('register-failed', 'The register of the reaper cannot be made.', file, { cause: error });
  }
}
