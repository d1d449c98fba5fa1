import { keyRecord, KeyRing, signPayload, SigningKey } from '@capstan/identity';
import { create, type Envelope, type LinkMessage, LinkMessageSchema } from '@capstan/protocol';
import { overtakesStatements } from './overtaking.js';

const pinned = SigningKey.generate();
const former = SigningKey.generate();
const next = SigningKey.generate();
const over = { ...keyRecord('hub', former.publicKey, ['link', 'command']), validUntil: 1 };
const keys = new KeyRing([keyRecord('hub', pinned.publicKey, ['link', 'command']), over], Date.now);

const signedBy = (key: SigningKey): Envelope => signPayload(key, 'command', new Uint8Array([1]));
const own = (key: SigningKey): LinkMessage =>
  create(LinkMessageSchema, { body: { case: 'envelope', value: signedBy(key) } });
const routed = (key: SigningKey): LinkMessage => {
  const value = { envelope: signedBy(SigningKey.generate()), admission: signedBy(key) };
  return create(LinkMessageSchema, { body: { case: 'routed', value } });
};

describe('a message behind a statement about the hub’s key', () => {
  it.each([
    ['a kill of a pinned key waits for nothing', 'kill', own(pinned), true],
    ['nor does one that the hub routes', 'kill', routed(pinned), true],
    ['one of the key that the statement brings waits for it', 'kill', own(next), false],
    ['so does one of a key whose time is over', 'kill', own(former), false],
    ['and everything on another lane', 'commands', own(pinned), false],
  ] as const)('%s', (_, lane, message, expected) => {
    expect(overtakesStatements(lane, message, keys)).toBe(expected);
  });
});
