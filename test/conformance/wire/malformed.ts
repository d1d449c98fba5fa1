/** Envelopes and payloads that no decoder may take, made of good ones: the same for every kind and both ends. */
import { bytes, encode, join, type Message, messages, rawBytes, rawVarint, utf8, varint } from './protobuf.ts';
import { type Key, malleate, makeKey, newId, seal, withSignature } from './signed.ts';

export interface Good {
  /** Kind of envelope, and the message it carries. */
  kind: string;
  type: string;
  payload: Message;
  key: Key;
}

export interface Bad {
  id: string;
  does: string;
  expect: string | readonly string[];
  make(good: Good): Message;
}

const HOUR_MS = 3_600_000;

const sealed = ({ kind, type, payload, key }: Good, change: (raw: Uint8Array) => Uint8Array = (raw) => raw): Message =>
  seal(kind, change(encode(type, payload)), key);

const headed = (good: Good, change: Message): Message =>
  sealed({ ...good, payload: { ...good.payload, header: { ...(good.payload['header'] as Message), ...change } } });

/** Point of order 1: the neutral element, under which node:crypto believes R = identity, S = 0. */
const NEUTRAL = Uint8Array.from([1, ...new Uint8Array(31)]);

export const BAD_SIGNATURES: readonly Bad[] = [
  {
    id: 'signature-missing',
    does: 'signs nothing',
    expect: 'rejection:signature-missing',
    make: (good) => ({ ...sealed(good), signatures: [] }),
  },
  {
    id: 'signature-flipped',
    does: 'changes a bit of the signature',
    expect: 'rejection:signature-invalid',
    make: (good) => withSignature(sealed(good), (sig) => join(Uint8Array.of((sig[0] ?? 0) ^ 1), sig.slice(1))),
  },
  {
    id: 'payload-flipped',
    does: 'changes the payload after it was signed',
    expect: 'rejection:signature-invalid',
    make: (good) => {
      const envelope = sealed(good);
      const other = { ...good.payload, header: { ...(good.payload['header'] as Message), id: newId() } };
      return { ...envelope, payload: encode(good.type, other) };
    },
  },
  {
    id: 'signature-malleated',
    does: 'signs with S + L in place of S',
    expect: 'rejection:signature-invalid',
    make: (good) => withSignature(sealed(good), malleate),
  },
  {
    id: 'signature-truncated',
    does: 'sends 63 bytes of signature',
    expect: ['rejection:signature-invalid', 'rejection:envelope-malformed'],
    make: (good) => withSignature(sealed(good), (sig) => sig.slice(0, 63)),
  },
  {
    id: 'signature-small-order',
    does: 'signs as the neutral element would',
    expect: 'rejection:signature-invalid',
    make: (good) => withSignature(sealed(good), () => join(NEUTRAL, new Uint8Array(32))),
  },
  {
    id: 'signature-of-bytes',
    does: 'signs the payload without its type',
    expect: 'rejection:signature-invalid',
    make: (good) => {
      const envelope = sealed(good);
      return withSignature(envelope, () => good.key.sign(bytes(envelope, 'payload')));
    },
  },
  {
    id: 'key-unknown',
    does: 'signs with a key that nobody has pinned',
    expect: 'rejection:key-unknown',
    make: (good) => sealed({ ...good, key: makeKey() }),
  },
  {
    id: 'key-confusion',
    does: 'signs with a key of its own under the id of the pinned one',
    expect: 'rejection:signature-invalid',
    make: (good) => {
      const envelope = sealed({ ...good, key: makeKey() });
      const signatures = messages(envelope, 'signatures').map((each) => ({ ...each, key_id: good.key.id }));
      return { ...envelope, signatures };
    },
  },
  {
    id: 'signatures-nine',
    does: 'signs nine times',
    expect: ['rejection:envelope-malformed', 'end:frame-malformed'],
    make: (good) => {
      const envelope = sealed(good);
      return { ...envelope, signatures: Array.from({ length: 9 }, () => messages(envelope, 'signatures')[0] ?? {}) };
    },
  },
];

export const BAD_PAYLOADS: readonly Bad[] = [
  {
    id: 'unknown-field',
    does: 'signs a field that no version knows',
    expect: 'rejection:unknown-field',
    make: (good) => sealed(good, (raw) => join(raw, rawVarint(777, 1))),
  },
  {
    id: 'unknown-field-nested',
    does: 'signs such a field inside the header',
    expect: 'rejection:unknown-field',
    make: (good) => {
      const inside = join(encode('Header', good.payload['header'] as Message), rawVarint(777, 1));
      const { header: _, ...rest } = good.payload;
      return sealed({ ...good, payload: rest }, (raw) => join(rawBytes(1, inside), raw));
    },
  },
  {
    id: 'unknown-direction',
    does: 'signs a direction that no version knows',
    expect: ['rejection:unknown-field', 'rejection:payload-malformed'],
    make: (good) => headed(good, { direction: 99 }),
  },
  {
    id: 'header-twice',
    does: 'signs two headers',
    expect: 'rejection:payload-malformed',
    make: (good) => sealed(good, (raw) => join(raw, rawBytes(1, encode('Header', good.payload['header'] as Message)))),
  },
  {
    id: 'header-missing',
    does: 'signs no header',
    expect: 'rejection:payload-malformed',
    make: (good) => {
      const { header: _, ...rest } = good.payload;
      return sealed({ ...good, payload: rest });
    },
  },
  {
    id: 'wire-type',
    does: 'signs a header that is a number',
    expect: 'rejection:payload-malformed',
    make: (good) => {
      const { header: _, ...rest } = good.payload;
      return sealed({ ...good, payload: rest }, (raw) => join(rawVarint(1, 5), raw));
    },
  },
  {
    id: 'nested-past-its-end',
    does: 'signs a header that is longer than what is there',
    expect: 'rejection:payload-malformed',
    make: (good) => sealed(good, () => join(Uint8Array.of(10), varint(10_000), utf8('short'))),
  },
  {
    id: 'empty',
    does: 'signs nothing at all as payload',
    expect: 'rejection:payload-malformed',
    make: ({ kind, key }) => seal(kind, new Uint8Array(), key),
  },
  {
    id: 'id-no-uuid',
    does: 'signs a message id that is no UUIDv7',
    expect: 'rejection:id-malformed',
    make: (good) => headed(good, { id: '6ba7b810-9dad-11d1-80b4-00c04fd430c8' }),
  },
  {
    id: 'issuer-malformed',
    does: 'signs an issuer with a line break',
    expect: 'rejection:id-malformed',
    make: (good) => headed(good, { issuer: 'har\nbor' }),
  },
  {
    id: 'issuer-swap',
    does: 'signs as somebody else with its own key',
    expect: 'rejection:wrong-issuer',
    make: (good) => headed(good, { issuer: 'somebody-else' }),
  },
  {
    id: 'audience-swap',
    does: 'signs what is for somebody else',
    expect: 'rejection:wrong-audience',
    make: (good) => headed(good, { audience: 'somebody-else' }),
  },
  {
    id: 'key-epoch',
    does: 'claims another epoch of its key',
    expect: 'rejection:key-revoked',
    make: (good) => headed(good, { key_epoch: 7 }),
  },
];

/** Only where the clock counts. */
export const BAD_CLOCKS: readonly Bad[] = [
  {
    id: 'clock-ahead',
    does: 'signs an hour ahead',
    expect: 'rejection:clock-skew',
    make: (good) => headed(good, { issued_at_ms: Date.now() + HOUR_MS, expires_at_ms: Date.now() + HOUR_MS + 60_000 }),
  },
  {
    id: 'clock-behind',
    does: 'signed an hour ago, for a minute',
    expect: 'rejection:expired',
    make: (good) => headed(good, { issued_at_ms: Date.now() - HOUR_MS, expires_at_ms: Date.now() - HOUR_MS + 60_000 }),
  },
];
