import { Direction, isMessageId } from '@capstan/protocol';
import { checkHeader, makeHeader, type HeaderDemand } from './header.js';

const NOW = 1_767_323_045_678;
const want: HeaderDemand = { audience: 'quay', direction: Direction.HUB_TO_SPOKE, nowMs: NOW, issuer: 'hub' };
const init = { issuer: 'hub', audience: 'quay', direction: Direction.HUB_TO_SPOKE, nowMs: NOW };
const fault = (code: string): unknown => expect.objectContaining({ code });

describe('makeHeader', () => {
  it('lives for 60 s and has an id of its own unless told', () => {
    const header = makeHeader(init);
    expect(isMessageId(header.id)).toBe(true);
    expect(header.expiresAtMs - header.issuedAtMs).toBe(60_000n);
    expect(checkHeader(header, want)).toBe(header);
  });

  it('refuses to make what no receiver would take', () => {
    expect(() => makeHeader({ ...init, audience: 'Quay' })).toThrow(fault('id-malformed') as Error);
    expect(() => makeHeader({ ...init, id: 'message-1' })).toThrow(fault('id-malformed') as Error);
  });
});

describe('checkHeader', () => {
  const checkAt = (nowMs: number): void => void checkHeader(makeHeader(init), { ...want, nowMs });

  it('takes a payload until the millisecond in which it expires', () => {
    checkAt(NOW + 59_999);
    expect(() => checkAt(NOW + 60_000)).toThrow(fault('expired') as Error);
  });

  it('bears a sender whose clock is 30 s ahead, and no more', () => {
    checkAt(NOW - 30_000);
    expect(() => checkAt(NOW - 30_001)).toThrow(fault('clock-skew') as Error);
  });

  it('looks at no clock where time is exempt, and at everything else', () => {
    const exempt: HeaderDemand = { ...want, expiry: 'exempt', nowMs: 0 };
    expect(() => checkHeader(makeHeader(init), exempt)).not.toThrow();
    expect(() => checkHeader(makeHeader(init), { ...exempt, nowMs: NOW * 2 })).not.toThrow();
    expect(() => checkHeader(makeHeader({ ...init, audience: 'harbor' }), exempt)).toThrow(
      fault('wrong-audience') as Error,
    );
    expect(() => checkHeader(makeHeader({ ...init, issuer: 'other' }), exempt)).toThrow(fault('wrong-issuer') as Error);
  });

  it('asks for whom and which way before it asks when', () => {
    const late: HeaderDemand = { ...want, nowMs: NOW * 2 };
    expect(() => checkHeader(makeHeader({ ...init, audience: 'harbor' }), late)).toThrow(
      fault('wrong-audience') as Error,
    );
    const reflected = makeHeader({ ...init, direction: Direction.SPOKE_TO_HUB });
    expect(() => checkHeader(reflected, late)).toThrow(fault('wrong-direction') as Error);
  });

  it('refuses a payload without a header', () => {
    expect(() => checkHeader(undefined, want)).toThrow(fault('payload-malformed') as Error);
  });
});
