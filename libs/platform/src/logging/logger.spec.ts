import { createLogger } from './logger.js';
import { redactText } from './redaction.js';

const KEY = 'sk-ant-api03-abcdefghijklmnop';

function logged(write: (logger: ReturnType<typeof createLogger>) => void): string {
  const lines: string[] = [];
  write(createLogger('test', { level: 'info', destination: { write: (line) => void lines.push(line) } }));
  return lines.join('');
}

describe('the log', () => {
  it('writes one JSON line per event, with name, level and time', () => {
    const line = logged((logger) => {
      logger.info({ agentId: 'a-1', msg: 'two\nlines' });
    });
    expect(line.match(/\n/g)).toHaveLength(1);
    expect(JSON.parse(line)).toMatchObject({ name: 'test', level: 'info', agentId: 'a-1', msg: 'two\nlines' });
  });

  it.each([
    [
      'in a message',
      (l: ReturnType<typeof createLogger>) => {
        l.info(`the key is ${KEY}`);
      },
    ],
    [
      'in a field',
      (l: ReturnType<typeof createLogger>) => {
        l.info({ note: KEY, msg: 'x' });
      },
    ],
    [
      'deep in a field named like a secret',
      (l: ReturnType<typeof createLogger>) => {
        l.info({ a: { apiKey: KEY, adminToken: KEY, list: [{ password: KEY }] }, msg: 'x' });
      },
    ],
    [
      'in an error and its cause',
      (l: ReturnType<typeof createLogger>) => {
        l.error({ err: new Error(KEY, { cause: new Error(KEY) }), msg: 'x' });
      },
    ],
    [
      'as a bearer token',
      (l: ReturnType<typeof createLogger>) => {
        l.info(`Authorization: Bearer ${KEY}`);
      },
    ],
    [
      'as a password in a URL',
      (l: ReturnType<typeof createLogger>) => {
        l.info(`redis://spoke:${KEY}@host:1`);
      },
    ],
  ])('hides a secret %s', (_, write) => {
    const line = logged(write);
    expect(line).not.toContain(KEY);
    expect(line).toContain('[hidden]');
  });

  it('leaves ordinary text, key ids and URLs without passwords as they are', () => {
    const text = 'k-0123abcd of https://example.org/a?b=c spent 5 tokens at http://127.0.0.1:7400';
    expect(redactText(text)).toBe(text);
    expect(
      JSON.parse(
        logged((l) => {
          l.info({ inputTokens: 5, keyId: 'k-1', msg: text });
        }),
      ),
    ).toMatchObject({ inputTokens: 5, keyId: 'k-1', msg: text });
  });
});
