/** (b) Ed25519 of node:crypto beside tweetnacl: a micro-benchmark only, the product has no switch for it. */
import { generateKeyPairSync, randomBytes, sign, verify } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import nacl from 'tweetnacl';
import type { Figure } from '../figures.ts';

/** About the size of a signed agent.status. */
const MESSAGE_BYTES = 256;

/** Microseconds per call of a synchronous function, after a warm-up. */
function microseconds(count: number, call: () => unknown): number {
  for (let i = 0; i < count / 10; i += 1) call();
  const started = performance.now();
  for (let i = 0; i < count; i += 1) call();
  return ((performance.now() - started) * 1000) / count;
}

export function measureSignatures(count: number): Figure[] {
  const message = randomBytes(MESSAGE_BYTES);
  const native = generateKeyPairSync('ed25519');
  const nativeSignature = sign(null, message, native.privateKey);
  const pure = nacl.sign.keyPair();
  const pureSignature = nacl.sign.detached(message, pure.secretKey);
  const slow = Math.max(20, Math.round(count / 50));
  const rows = [
    {
      name: 'sign',
      ours: microseconds(count, () => sign(null, message, native.privateKey)),
      theirs: microseconds(slow, () => nacl.sign.detached(message, pure.secretKey)),
    },
    {
      name: 'verify',
      ours: microseconds(count, () => verify(null, message, native.publicKey, nativeSignature)),
      theirs: microseconds(slow, () => nacl.sign.detached.verify(message, pureSignature, pure.publicKey)),
    },
  ];
  return rows.map(({ name, ours, theirs }) => ({
    section: 'b',
    name: `Ed25519 ${name}, node:crypto`,
    value: ours,
    unit: 'µs',
    samples: count,
    baseline: { name: 'tweetnacl', value: theirs },
  }));
}

/** What somebody must sign and verify for one command. */
export interface CryptoWork {
  signatures: number;
  verifications: number;
}

/** CPU milliseconds of the signatures and verifications of one command, nothing else. */
export function cryptoFloorMs(count: number, { signatures, verifications }: CryptoWork): number {
  const message = randomBytes(MESSAGE_BYTES);
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const signature = sign(null, message, privateKey);
  const before = process.cpuUsage();
  for (let i = 0; i < count * signatures; i += 1) sign(null, message, privateKey);
  for (let i = 0; i < count * verifications; i += 1) verify(null, message, publicKey, signature);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000 / count;
}
