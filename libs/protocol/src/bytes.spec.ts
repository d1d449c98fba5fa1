import fc from 'fast-check';
import { bytesEqual, fromBase64, fromHex, toBase64, toHex } from './bytes.js';

const fault = expect.objectContaining({ code: 'validation' });

describe('bytes', () => {
  it('come back from hex and base64 as they were, spelled as Node spells them', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        expect(toHex(bytes)).toBe(Buffer.from(bytes).toString('hex'));
        expect(toBase64(bytes)).toBe(Buffer.from(bytes).toString('base64'));
        expect(bytesEqual(fromHex(toHex(bytes)), bytes)).toBe(true);
        expect(bytesEqual(fromBase64(toBase64(bytes)), bytes)).toBe(true);
      }),
    );
  });

  it.each(['a', 'zz', '0 '])('refuses %j as hex', (text) => {
    expect(() => fromHex(text)).toThrow(fault);
  });

  it.each(['YQ', 'YR==', 'Y Q=', 'YQ==\n', '-_-_', '====', 'YQ==YQ=='])('refuses %j as base64', (text) => {
    expect(() => fromBase64(text)).toThrow(fault);
  });

  it('are equal only in full', () => {
    expect(bytesEqual(Uint8Array.of(1, 2), Uint8Array.of(1, 2))).toBe(true);
    expect(bytesEqual(Uint8Array.of(1, 2), Uint8Array.of(1, 3))).toBe(false);
    expect(bytesEqual(Uint8Array.of(1), Uint8Array.of(1, 0))).toBe(false);
  });
});
