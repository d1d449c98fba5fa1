import { StringDecoder } from 'node:string_decoder';

/** Keeps the beginning and the end of an output of any length. */
export class TailBuffer {
  private readonly decoder = new StringDecoder('utf8');
  private head = '';
  private tail = '';
  private dropped = 0;

  /** @param limit characters that are kept. */
  constructor(private readonly limit: number) {}

  push(chunk: Buffer): void {
    let text = this.decoder.write(chunk);
    const half = Math.floor(this.limit / 2);
    const room = half - this.head.length;
    if (room > 0) {
      this.head += text.slice(0, room);
      text = text.slice(room);
    }
    this.tail += text;
    if (this.tail.length > 2 * half) this.shorten(half);
  }

  text(): string {
    this.shorten(Math.floor(this.limit / 2));
    const gap = this.dropped === 0 ? '' : `\n[… ${String(this.dropped)} characters left out …]\n`;
    return `${this.head}${gap}${this.tail}`;
  }

  private shorten(length: number): void {
    const excess = this.tail.length - length;
    if (excess <= 0) return;
    this.dropped += excess;
    this.tail = this.tail.slice(excess);
  }
}
