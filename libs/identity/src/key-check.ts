import { ed25519 } from '@noble/curves/ed25519.js';
import { WireFault } from '@capstan/protocol';

/**
 * Refuses a public key under which a signature would not bind one person to one message: wrong length, a
 * non-canonical encoding, a point of small order (a signature exists that fits every message), a point with torsion
 * (verifiers disagree about signatures). node:crypto accepts all of these, so it is asked once, when a key is enrolled.
 *
 * Source: Chalkias, Garillot, Nikolaenko, "Taming the many EdDSAs", https://eprint.iacr.org/2020/1244
 *
 * @throws {WireFault} `key-weak`
 */
export function checkPublicKey(publicKey: Uint8Array): void {
  const point = parsePoint(publicKey);
  if (point.isSmallOrder()) throw new WireFault('key-weak', 'small order');
  if (!point.isTorsionFree()) throw new WireFault('key-weak', 'torsion');
}

function parsePoint(publicKey: Uint8Array): InstanceType<typeof ed25519.Point> {
  try {
    // A copy: noble demands a Uint8Array proper, a Buffer is one of many of our callers.
    return ed25519.Point.fromBytes(Uint8Array.from(publicKey), false);
  } catch (error) {
    throw new WireFault('key-weak', 'not the canonical encoding of a point', { cause: error });
  }
}
