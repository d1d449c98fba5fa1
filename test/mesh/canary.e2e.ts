import { randomBytes } from 'node:crypto';
import { describeCanary } from './canary/describe.js';
import { foundIn, tracesOf } from './canary/traces.js';
import { bubblewrap } from './execution/driver.js';

jest.setTimeout(600_000);

const PREFIX = 'sk-ant-api03-';
const KEY = `${PREFIX}${randomBytes(60).toString('base64url')}`;

describe('what finds a canary', () => {
  const said = (text: string) => foundIn(text, tracesOf(KEY, PREFIX)).length > 0;
  const encoded = (encoding: 'hex' | 'base64' | 'base64url') => Buffer.from(`x${KEY}y`).toString(encoding);
  it.each([
    ['as it is', KEY],
    ['in the middle of something', `x=${KEY};`],
    ['its first half', KEY.slice(0, KEY.length / 2)],
    ['its second half', KEY.slice(KEY.length / 2)],
    ['backwards', Array.from(KEY).reverse().join('')],
    ['in hex', encoded('hex')],
    ['in capital hex', encoded('hex').toUpperCase()],
    ['in base64', encoded('base64')],
    ['in base64 for URLs', encoded('base64url')],
    ['as a URL has it', Buffer.from(KEY).toString('hex').replaceAll(/../g, '%$&')],
  ])('finds it %s', (_, text) => expect(said(text)).toBe(true));
  it('finds it nowhere else', () => {
    expect(said(`${PREFIX}${randomBytes(5000).toString('base64')} ${randomBytes(5000).toString('hex')}`)).toBe(false);
  });
});

describe('in bubblewrap', () => {
  describeCanary(bubblewrap);
});
