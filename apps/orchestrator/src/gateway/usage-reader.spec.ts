import { proves } from '../../../../test/support/proves.js';
import { usageReader } from './usage-reader.js';

const PIECE = 64 * 1024;
const event = (data: object): string => `data: ${JSON.stringify(data)}\n\n`;
const START = event({ type: 'message_start', message: { usage: { input_tokens: 7, output_tokens: 1 } } });
const END = event({ type: 'message_delta', usage: { output_tokens: 9 } });

/** The reply in pieces of a size. */
function read(reply: string, size: number) {
  const reader = usageReader('text/event-stream');
  const bytes = Buffer.from(reply);
  for (let at = 0; at < bytes.length; at += size) reader.push(bytes.subarray(at, at + size));
  return reader;
}

describe('the reader of what a stream has used', () => {
  it.each([1, 2, 7, PIECE])('reads it in pieces of %s bytes', (size) => {
    const reader = read(`${START}: ünï\r\n${END}`, size);
    expect([reader.tokens(), reader.isWhole]).toMatchObject([{ input: 7, output: 9 }, true]);
  });

  it(
    'looks at each byte once where a line does not end, and goes on at the next line',
    proves('ORC-L3', () => {
      const split = jest.spyOn(String.prototype, 'split');
      const reply = `${START}data: ${'x'.repeat(12 * 1024 * 1024)}\n${END}`;
      const reader = read(reply, PIECE);
      const looked = split.mock.contexts.reduce((sum: number, text) => sum + String(text).length, 0);
      split.mockRestore();
      expect(looked).toBeLessThan(2 * reply.length);
      expect([reader.tokens(), reader.isWhole]).toMatchObject([{ input: 7, output: 9 }, true]);
    }),
  );

  it('takes no line for a part of one that was too long', () => {
    const hidden = `${'x'.repeat(5 * 1024 * 1024)}${END}`;
    expect(read(`${START}data: ${hidden}`, PIECE).isWhole).toBe(false);
  });
});
