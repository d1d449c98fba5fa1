import fc from 'fast-check';
import { toHex } from '@capstan/protocol';
import { handshakePae } from './handshake-pae.js';

describe('handshakePae', () => {
  const parts = fc.array(fc.uint8Array({ maxLength: 8 }), { maxLength: 4 });

  it('gives two different lists of parts different bytes', () => {
    fc.assert(
      fc.property(parts, parts, (a, b) => {
        const same = JSON.stringify(a.map(toHex)) === JSON.stringify(b.map(toHex));
        const bytes = [a, b].map((list) => toHex(handshakePae('capstan.v1.hub-hello', ...list)));
        expect(bytes[0] === bytes[1]).toBe(same);
      }),
    );
  });

  it('gives two labels different bytes, and never begins like a DSSE encoding', () => {
    const hello = handshakePae('capstan.v1.hub-hello');
    expect(hello).not.toEqual(handshakePae('capstan.v1.spoke-proof'));
    expect(new TextDecoder().decode(hello)).toMatch(/^capstan\.v1\./);
  });
});
