import { appendFile, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { stripControl } from '@capstan/protocol';
import type { LogSource } from './agent-output.js';

export interface LogLineView {
  /** From 1, without gaps, per agent. */
  sequence: number;
  /** ISO 8601. */
  at: string;
  source: LogSource;
  text: string;
}

export interface LogPageView {
  lines: LogLineView[];
  /** Pass as `after` to go on. */
  next: number;
  /** True where lines between `after` and the first one were dropped. */
  gap: boolean;
}

const MOST_LINES = 5000;
const MOST_BYTES = 1024 * 1024;
const LONGEST_TEXT = 8 * 1024;
/** Less would be found by chance all over. */
const SHORTEST_HIDDEN = 6;
const MOST_UNWRITTEN = 256 * 1024;

/** The last lines of one agent, in memory and in a file, both bounded: the oldest lines give way. */
export class AgentLog {
  /** Called for each text that was added. */
  onAppend: () => void = () => undefined;

  /** Names and what is hidden under them. */
  private readonly hidden: [string, string][] = [];
  private lines: LogLineView[] = [];
  private sizes: number[] = [];
  private bytes = 0;
  private fileBytes = 0;
  private last = 0;
  private unwritten: string[] = [];
  private unwrittenBytes = 0;
  private writing: Promise<void> | undefined;

  private constructor(
    private readonly file: string,
    private readonly onFault: (error: unknown) => void,
  ) {}

  /** Goes on where the file ends; a torn last line is dropped. @param onFault the file could not be written. */
  static async open(file: string, onFault: (error: unknown) => void = () => undefined): Promise<AgentLog> {
    const log = new AgentLog(file, onFault);
    const text = await readFile(file, 'utf8').catch(() => '');
    for (const json of text.split('\n')) {
      const line = lineOf(json);
      if (line !== undefined) log.keep(line, Buffer.byteLength(json) + 1);
    }
    log.fileBytes = Buffer.byteLength(text);
    // What a crash tore off must not be glued to the next line.
    if (text !== '' && !text.endsWith('\n')) await log.rewrite();
    return log;
  }

  /** What must not be read in this log; from now on its name stands in its place, line by line. */
  hide(secrets: Readonly<Record<string, string>>): void {
    const lines = Object.entries(secrets).flatMap(([name, value]) =>
      value.split('\n').map((text): [string, string] => [name, stripControl(text).trim()]),
    );
    this.hidden.push(...lines.filter(([, text]) => text.length >= SHORTEST_HIDDEN));
  }

  /** Adds lines: text is split at line ends, cut at 8 KiB, and stripped of control characters. */
  append(source: LogSource, text: string): void {
    for (const part of stripControl(text).split('\n')) this.appendLine(source, this.shown(part).slice(0, LONGEST_TEXT));
    this.onAppend();
  }

  /** Adds somebody's words whole. @param mark begins each line of them, so that none passes for the instance's own */
  quote(mark: string, text: string): void {
    const size = LONGEST_TEXT - mark.length;
    for (const part of stripControl(text).split('\n')) {
      const line = this.shown(part);
      for (let at = 0; at === 0 || at < line.length; at += size)
        this.appendLine('system', mark + line.slice(at, at + size));
    }
    this.onAppend();
  }

  /** Resolves while little is unwritten: whoever reads an agent's output waits here, so that the agent waits too. */
  async drained(): Promise<void> {
    while (this.unwrittenBytes > MOST_UNWRITTEN && this.writing !== undefined) await this.writing;
  }

  /** @param mostBytes what the lines may have together, as JSON; one line always fits. */
  page(after: number, limit: number, mostBytes = Infinity): LogPageView {
    const first = this.lines[0]?.sequence ?? this.last + 1;
    const from = Math.max(0, after + 1 - first);
    let bytes = 0;
    const tooMuch = this.sizes.findIndex((size, at) => at >= from && (bytes += size) > mostBytes && at > from);
    const lines = this.lines.slice(from, Math.min(from + limit, tooMuch < 0 ? Infinity : tooMuch));
    return { lines, next: lines.at(-1)?.sequence ?? Math.min(after, this.last), gap: first > after + 1 };
  }

  /** Resolves once every line is in the file. */
  async close(): Promise<void> {
    while (this.writing !== undefined) await this.writing;
  }

  private shown(text: string): string {
    return this.hidden.reduce((shown, [name, secret]) => shown.replaceAll(secret, () => `[${name}]`), text);
  }

  private appendLine(source: LogSource, text: string): void {
    const line = { sequence: this.last + 1, at: new Date().toISOString(), source, text };
    const json = `${JSON.stringify(line)}\n`;
    const size = Buffer.byteLength(json);
    this.keep(line, size);
    this.unwritten.push(json);
    this.unwrittenBytes += size;
    this.writing ??= this.write();
  }

  private keep(line: LogLineView, size: number): void {
    this.lines.push(line);
    this.sizes.push(size);
    this.bytes += size;
    this.last = line.sequence;
    let drop = 0;
    while (this.lines.length - drop > MOST_LINES || this.bytes > MOST_BYTES) this.bytes -= this.sizes[drop++] ?? 0;
    // Dropped in batches: moving five thousand entries for each line would be slow.
    if (drop > 0) {
      this.lines.splice(0, drop);
      this.sizes.splice(0, drop);
    }
  }

  private async write(): Promise<void> {
    // One step later, so that lines of one chunk are written together, and `writing` is set.
    await Promise.resolve();
    try {
      while (this.unwritten.length > 0) {
        const text = this.unwritten.join('');
        this.unwritten = [];
        this.unwrittenBytes = 0;
        this.fileBytes += Buffer.byteLength(text);
        await (this.fileBytes > 2 * MOST_BYTES ? this.rewrite() : appendFile(this.file, text, { mode: 0o600 }));
      }
    } catch (error) {
      this.onFault(error);
    } finally {
      this.writing = undefined;
    }
  }

  private async rewrite(): Promise<void> {
    const text = this.lines.map((line) => `${JSON.stringify(line)}\n`).join('');
    await writeFile(`${this.file}.new`, text, { mode: 0o600 });
    await rename(`${this.file}.new`, this.file);
    this.fileBytes = Buffer.byteLength(text);
  }
}

/** Removes an agent's log. */
export async function removeLog(file: string): Promise<void> {
  await rm(file, { force: true });
}

function lineOf(json: string): LogLineView | undefined {
  try {
    const line = JSON.parse(json) as LogLineView;
    return Number.isSafeInteger(line.sequence) ? line : undefined;
  } catch {
    return undefined;
  }
}
