import { ed25519 } from '@noble/curves/ed25519.js';
import { handshakePae, keyIdOf, SigningKey } from '@capstan/identity';
import { fromHex, pae, toHex } from '@capstan/protocol';
import { malleate } from './envelope-vectors.js';
import { signer } from './world.js';

/** RFC 8032, 7.1: TEST 1, 2, 3 and SHA(abc). */
const RFC_8032 = [
  {
    seed: '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60',
    message: '',
    signature:
      'e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b',
  },
  {
    seed: '4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb',
    message: '72',
    signature:
      '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
  },
  {
    seed: 'c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7',
    message: 'af82',
    signature:
      '6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a',
  },
  {
    seed: '833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42',
    message:
      'ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f',
    signature:
      'dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704',
  },
];

/** The eight points whose order divides 8, in their only canonical encoding. */
const SMALL_ORDER = [
  '0100000000000000000000000000000000000000000000000000000000000000',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0000000000000000000000000000000000000000000000000000000000000080',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa',
];

/** y not below p, or a sign for x = 0: second spellings of a point. */
const NON_CANONICAL = [
  '0100000000000000000000000000000000000000000000000000000000000080',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',
  'ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
];

function withTorsion(smallOrder: string): string {
  const sound = ed25519.Point.fromBytes(signer('hub').publicKey);
  return sound.add(ed25519.Point.fromBytes(fromHex(smallOrder), true)).toHex();
}

/** Public keys as they arrive at enrolment. */
export function keyVectors(): unknown {
  const sound = [...RFC_8032.map(({ seed }) => SigningKey.fromSeed(fromHex(seed))), signer('hub'), signer('reaper')];
  return {
    description: 'Raw Ed25519 public keys. Weak ones are refused with key-weak.',
    sound: sound.map(({ publicKey }) => ({ publicKey: toHex(publicKey), keyId: keyIdOf(publicKey) })),
    weak: [
      ...SMALL_ORDER.map((publicKey) => ({ why: 'small order', publicKey })),
      ...NON_CANONICAL.map((publicKey) => ({ why: 'not canonical', publicKey })),
      ...SMALL_ORDER.slice(1).map((point) => ({ why: 'torsion', publicKey: withTorsion(point) })),
      { why: 'not on the curve', publicKey: `02${'00'.repeat(31)}` },
      { why: '31 bytes', publicKey: toHex(signer('hub').publicKey.subarray(1)) },
      { why: '33 bytes', publicKey: `${toHex(signer('hub').publicKey)}00` },
    ],
  };
}

/** Bare Ed25519 signatures. */
export function signatureVectors(): unknown {
  return {
    description: 'Ed25519 of RFC 8032, 7.1; and the same signatures in forms that must be refused.',
    good: RFC_8032.map(({ seed, ...rest }) => ({
      seed,
      publicKey: toHex(SigningKey.fromSeed(fromHex(seed)).publicKey),
      ...rest,
    })),
    bad: RFC_8032.map(({ seed, message, signature }) => ({
      why: 'S + L for S',
      publicKey: toHex(SigningKey.fromSeed(fromHex(seed)).publicKey),
      message,
      signature: toHex(malleate(fromHex(signature))),
    })),
  };
}

/** The bytes that are signed. */
export function paeVectors(): unknown {
  const dsse: [type: string, payload: string][] = [
    ['http://example.com/HelloWorld', '68656c6c6f20776f726c64'],
    ['', ''],
    ['ä', 'c3b6e282ac'],
    ['t', '00ff0a'],
  ];
  const handshake: [label: Parameters<typeof handshakePae>[0], parts: string[]][] = [
    ['capstan.v1.hub-hello', ['01', '0203']],
    ['capstan.v1.hub-hello', ['0102', '03']],
    ['capstan.v1.spoke-proof', ['', '']],
    ['capstan.v1.reaper-endorse', ['71756179', '00'.repeat(32)]],
  ];
  return {
    description: 'Pre-authentication encodings: of DSSE for envelopes, and of the handshake. All bytes in hex.',
    dsse: dsse.map(([payloadType, payload]) => ({
      payloadType,
      payload,
      pae: toHex(pae(payloadType, fromHex(payload))),
    })),
    handshake: handshake.map(([label, parts]) => ({
      label,
      parts,
      pae: toHex(handshakePae(label, ...parts.map(fromHex))),
    })),
  };
}
