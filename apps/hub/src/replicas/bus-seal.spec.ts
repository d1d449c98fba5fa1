import { SigningKey } from '@capstan/identity';
import { hubId } from '@capstan/protocol';
import { BusSeal } from './bus-seal.js';

const of = (...believedKeys: SigningKey[]): BusSeal => new BusSeal({ believedKeys, hubId: hubId('hub') });
const news = { kind: 'wrote' } as const;
const refused = (why: string) => ({ is: 'refused', why });

describe('the authenticator of the bus', () => {
  const key = SigningKey.generate();

  afterEach(() => jest.restoreAllMocks());

  it('lets replicas of one hub through, and nobody else', () => {
    const [a, b] = [of(key), of(key)];
    expect(b.open(a.seal(news))).toEqual({ is: 'message', from: a.replicaId, message: news });
    expect(b.open(of(SigningKey.generate()).seal(news))).toEqual(refused('authenticator'));
    const elsewhere = new BusSeal({ believedKeys: [key], hubId: hubId('other') });
    expect(b.open(elsewhere.seal(news))).toEqual(refused('authenticator'));
    for (const text of ['', '{}', JSON.stringify({ from: a.replicaId, message: news }), `${'A'.repeat(43)}{}`])
      expect(b.open(text)).toEqual(refused('authenticator'));
  });

  it('notices each character that was changed', () => {
    const [a, b] = [of(key), of(key)];
    const text = a.seal(news);
    for (let at = 0; at < text.length; at += 1) {
      const changed = `${text.slice(0, at)}${text[at] === '~' ? '!' : '~'}${text.slice(at + 1)}`;
      expect(b.open(changed)).toEqual(refused('authenticator'));
    }
  });

  it('takes each message once, and none from before one that it has taken', () => {
    const [a, b] = [of(key), of(key)];
    const [first, second] = [a.seal(news), a.seal(news)];
    expect(b.open(second)).toMatchObject({ is: 'message' });
    expect(b.open(second)).toEqual(refused('repeated'));
    expect(b.open(first)).toEqual(refused('repeated'));
  });

  it('knows its own words again, once', () => {
    const a = of(key);
    const text = a.seal(news);
    expect(a.open(text)).toEqual({ is: 'own' });
    expect(a.open(text)).toEqual(refused('repeated'));
  });

  it('takes nothing that was recorded before it lived', () => {
    const a = of(key);
    const now = Date.now();
    jest.spyOn(Date, 'now').mockReturnValue(now - 60_000);
    const recorded = a.seal(news);
    jest.restoreAllMocks();
    expect(of(key).open(recorded)).toEqual(refused('old'));
  });

  it('is heard although the clocks are far apart, once both have heard each other', () => {
    const [a, b] = [of(key), of(key)];
    const now = Date.now();
    const late = (): string => {
      jest.spyOn(Date, 'now').mockReturnValue(now - 3_600_000);
      const text = a.seal(news);
      jest.restoreAllMocks();
      return text;
    };
    expect(b.open(late())).toEqual(refused('old'));
    a.open(b.seal(news));
    expect(b.open(late())).toMatchObject({ is: 'message' });
  });

  it('goes on while one replica has another key of the hub and the other does not know it yet', () => {
    const next = SigningKey.generate();
    const [ahead, behind] = [of(next, key), of(key)];
    expect(ahead.open(behind.seal(news))).toMatchObject({ is: 'message' });
    expect(of(next).open(behind.seal(news))).toEqual(refused('authenticator'));
  });

  it('leaves alone what another version says', () => {
    const [a, b] = [of(key), of(key)];
    expect(b.open(a.seal({ kind: 'sing' } as never))).toEqual(refused('unknown'));
  });
});
