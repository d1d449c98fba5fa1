import { pae } from './pae.js';

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const bytes = (s: string): Uint8Array => new TextEncoder().encode(s);

describe('pae', () => {
  // Test vector of https://github.com/secure-systems-lab/dsse/blob/master/protocol.md
  it('is that of the DSSE specification', () => {
    expect(text(pae('http://example.com/HelloWorld', bytes('hello world')))).toBe(
      'DSSEv1 29 http://example.com/HelloWorld 11 hello world',
    );
  });

  it('encodes an empty type and an empty payload', () => {
    expect(text(pae('', new Uint8Array()))).toBe('DSSEv1 0  0 ');
  });

  it('counts bytes, not characters', () => {
    expect(text(pae('ä', bytes('ö€')))).toBe('DSSEv1 2 ä 5 ö€');
  });

  it('keeps a payload that is no text as it is', () => {
    expect([...pae('t', Uint8Array.of(0, 255, 10)).subarray(-3)]).toEqual([0, 255, 10]);
  });

  it('tells apart where type and payload meet', () => {
    expect(text(pae('a', bytes('b 1 c')))).not.toBe(text(pae('a 5 b', bytes('c'))));
  });
});
