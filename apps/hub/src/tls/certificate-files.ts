import { createPrivateKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { LocalFault } from '@capstan/protocol';
import { selfMadeCertificate } from './self-made.js';

/** Key and certificate chain, PEM, that belong together. */
export interface TlsMaterial {
  key: string;
  cert: string;
  /** The first of the chain. */
  leaf: X509Certificate;
}

const RENEW_BEFORE_MS = 30 * 86_400_000;

/**
 * The hub's own key and certificate in `directory`, made at the first start. A certificate that ends within 30 days, or
 * lacks a name, is replaced by another of the same key, so that pins hold.
 *
 * @throws LocalFault `tls-material`
 */
export async function ownMaterial(directory: string, names: readonly string[], nowMs: number): Promise<TlsMaterial> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const [keyFile, certFile] = [join(directory, 'key.pem'), join(directory, 'cert.pem')];
  const key = (await readIfThere(keyFile)) ?? (await makeKey(keyFile));
  const kept = await readIfThere(certFile);
  if (kept !== undefined) {
    const material = checked(key, kept, certFile);
    if (isFresh(material.leaf, names, nowMs)) return material;
  }
  const cert = await selfMadeCertificate(key, names, nowMs);
  await replace(certFile, cert, 0o644);
  return checked(key, cert, certFile);
}

/** Key and certificate that somebody else keeps up. @throws LocalFault `tls-material` */
export async function givenMaterial(files: { cert: string; key: string }): Promise<TlsMaterial> {
  try {
    const [cert, key] = await Promise.all([readFile(files.cert, 'utf8'), readFile(files.key, 'utf8')]);
    return checked(key, cert, files.cert);
  } catch (cause) {
    if (cause instanceof LocalFault) throw cause;
    throw new LocalFault('tls-material', 'The TLS certificate or its key cannot be read.', files.cert, { cause });
  }
}

function checked(key: string, cert: string, file: string): TlsMaterial {
  let leaf: X509Certificate;
  try {
    leaf = new X509Certificate(cert);
    if (leaf.checkPrivateKey(createPrivateKey(key))) return { key, cert, leaf };
  } catch (cause) {
    throw new LocalFault('tls-material', 'The TLS certificate or its key cannot be read.', file, { cause });
  }
  throw new LocalFault('tls-material', 'The TLS certificate belongs to another key.', file);
}

function isFresh(leaf: X509Certificate, names: readonly string[], nowMs: number): boolean {
  const hasName = (name: string): boolean =>
    (isIP(name) === 0 ? leaf.checkHost(name) : leaf.checkIP(name)) !== undefined;
  return leaf.validToDate.getTime() - nowMs > RENEW_BEFORE_MS && names.every(hasName);
}

async function makeKey(file: string): Promise<string> {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const pem = privateKey.export({ format: 'pem', type: 'pkcs8' }) as string;
  await replace(file, pem, 0o600);
  return pem;
}

async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new LocalFault('tls-material', 'The TLS certificate or its key cannot be read.', file, { cause: error });
  }
}

/** Whole or not at all, on disk when this resolves. */
async function replace(file: string, content: string, mode: number): Promise<void> {
  const fresh = `${file}.new`;
  {
    await using handle = await open(fresh, 'w', mode);
    await handle.writeFile(content);
    await handle.sync();
  }
  await rename(fresh, file);
}
