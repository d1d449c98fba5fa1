import { createPrivateKey, createPublicKey, randomBytes, webcrypto } from 'node:crypto';
import { isIP } from 'node:net';

const DAY_MS = 86_400_000;
/** Long enough to be renewed in peace, short enough for the platforms that refuse certificates of more than 398 days. */
const LIFE_MS = 365 * DAY_MS;
const ECDSA = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

/**
 * A certificate that a key vouches for itself, for these names. Whoever pins the key needs no more; a browser asks.
 *
 * @param keyPem PKCS #8 of a P-256 key
 * @returns PEM
 */
export async function selfMadeCertificate(keyPem: string, names: readonly string[], nowMs: number): Promise<string> {
  // Only a hub that makes its certificate pays for the library, and only when it does.
  const x509 = await import('@peculiar/x509');
  const keys = await keyPair(keyPem);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    // Positive, as RFC 5280 demands, and not guessable.
    serialNumber: `01${randomBytes(15).toString('hex')}`,
    name: 'CN=Capstan hub',
    // Clocks that are a little behind must not refuse it.
    notBefore: new Date(nowMs - DAY_MS),
    notAfter: new Date(nowMs + LIFE_MS),
    keys,
    signingAlgorithm: ECDSA,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension(
        names.map((value) => ({ type: isIP(value) === 0 ? ('dns' as const) : ('ip' as const), value })),
      ),
    ],
  });
  return certificate.toString('pem');
}

async function keyPair(keyPem: string): Promise<webcrypto.CryptoKeyPair> {
  const { subtle } = webcrypto;
  const secret = createPrivateKey(keyPem);
  const pkcs8 = secret.export({ format: 'der', type: 'pkcs8' });
  const spki = createPublicKey(secret).export({ format: 'der', type: 'spki' });
  const [privateKey, publicKey] = await Promise.all([
    subtle.importKey('pkcs8', pkcs8, ECDSA, false, ['sign']),
    subtle.importKey('spki', spki, ECDSA, true, ['verify']),
  ]);
  return { privateKey, publicKey };
}
