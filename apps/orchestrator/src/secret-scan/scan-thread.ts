import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { Place, ScanKeys } from './scan-content.js';
import type { ScanReply } from './scan-worker.js';

/** The program that scans; it runs on a thread of its own. */
export interface ScanProgram {
  file: URL;
  execArgv?: string[];
}

export const SCAN_PROGRAM: ScanProgram = { file: new URL('./scan-worker.js', import.meta.url) };
const MEMORY_MIB = 768;

/** A thread that scans contents until it is closed, or its time is over. */
export class ScanThread implements AsyncDisposable {
  private readonly worker: Worker;
  private readonly timer: NodeJS.Timeout;
  private readonly ended = new AbortController();

  /** @param timeoutMs from now; what is not scanned then is not scanned at all. */
  constructor(program: ScanProgram, keys: ScanKeys, timeoutMs: number) {
    this.worker = new Worker(program.file, {
      workerData: keys,
      env: {},
      execArgv: program.execArgv ?? [],
      resourceLimits: { maxOldGenerationSizeMb: MEMORY_MIB },
    });
    const end = (why: unknown): void => this.ended.abort(why);
    this.worker.on('error', end);
    this.worker.on('exit', () => end(new Error('the scanner ended')));
    this.timer = setTimeout(() => end(new Error(`the scan took longer than ${String(timeoutMs)} ms`)), timeoutMs);
  }

  /** One list per content. @throws Error where the thread fails, ends, or its time is over */
  async scan(contents: readonly Uint8Array[]): Promise<Place[][]> {
    const { signal } = this.ended;
    signal.throwIfAborted();
    const heard = once(this.worker, 'message', { signal });
    // A view would take all that it is a view of along.
    const copies = contents.map((content) => new Uint8Array(content));
    this.worker.postMessage(
      { contents: copies },
      copies.map(({ buffer }) => buffer),
    );
    const [reply] = (await heard.catch((error: unknown) => {
      throw signal.aborted ? signal.reason : error;
    })) as [ScanReply];
    if ('fault' in reply) throw new Error(`the scanner failed: ${reply.fault}`);
    if (reply.places.length !== contents.length) throw new Error('the scanner has not scanned everything');
    return reply.places;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.timer);
    this.worker.removeAllListeners();
    this.worker.on('error', () => undefined);
    await this.worker.terminate();
  }
}
