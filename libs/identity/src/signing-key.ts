import { createPrivateKey, createPublicKey, generateKeyPairSync, hkdfSync, sign, type KeyObject } from 'node:crypto';
import { LocalFault, type KeyId } from '@capstan/protocol';
import { keyIdOf } from './key-id.js';
import { createKeyFile, readKeyFile } from './key-file.js';

/** An Ed25519 key pair that can sign. The private half never leaves the object but into its own file. */
export class SigningKey {
  readonly keyId: KeyId;
  /** Raw Ed25519, 32 bytes. */
  readonly publicKey: Uint8Array;
  readonly #privateKey: KeyObject;

  private constructor(privateKey: KeyObject) {
    const { x } = createPublicKey(privateKey).export({ format: 'jwk' });
    this.publicKey = new Uint8Array(Buffer.from(x ?? '', 'base64url'));
    this.keyId = keyIdOf(this.publicKey);
    this.#privateKey = privateKey;
  }

  /** A key that lives in memory only. */
  static generate(): SigningKey {
    return new SigningKey(generateKeyPairSync('ed25519').privateKey);
  }

  /** The key of a 32-byte seed (RFC 8032, 5.1.5); for vectors and tests, where a key must be the same each time. */
  static fromSeed(seed: Uint8Array): SigningKey {
    if (seed.length !== 32) throw new RangeError('an Ed25519 seed has 32 bytes');
    // Header of a PKCS #8 structure that holds an Ed25519 seed (RFC 8410).
    const der = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed]);
    return new SigningKey(createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }));
  }

  /**
   * A new key in a new file, readable by its owner only and on disk before this resolves.
   *
   * @throws {LocalFault} `key-file-exists`
   */
  static async create(file: string): Promise<SigningKey> {
    const { privateKey } = generateKeyPairSync('ed25519');
    await createKeyFile(file, privateKey.export({ format: 'pem', type: 'pkcs8' }) as string);
    return new SigningKey(privateKey);
  }

  /** @throws {LocalFault} `key-file-missing`, `key-file-open` (others can read it, or own it), `key-file-malformed` */
  static async load(file: string): Promise<SigningKey> {
    const pem = await readKeyFile(file);
    let privateKey: KeyObject;
    try {
      privateKey = createPrivateKey(pem);
    } catch (error) {
      throw malformed(file, error);
    }
    if (privateKey.asymmetricKeyType !== 'ed25519') throw malformed(file);
    return new SigningKey(privateKey);
  }

  /** The key in the file; made first where there is no file. Of two that race, both get the same key. */
  static async loadOrCreate(file: string): Promise<SigningKey> {
    try {
      return await SigningKey.load(file);
    } catch (error) {
      if (!(error instanceof LocalFault && error.code === 'key-file-missing')) throw error;
    }
    try {
      return await SigningKey.create(file);
    } catch (error) {
      if (error instanceof LocalFault && error.code === 'key-file-exists') return SigningKey.load(file);
      throw error;
    }
  }

  /** 64 bytes, R || S. */
  sign(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
    return new Uint8Array(sign(null, bytes, this.#privateKey));
  }

  /** 32 secret bytes for one use, which whoever holds this key derives too, and nobody else (HKDF-SHA-256, RFC 5869). */
  derive(label: string): Buffer {
    const { d = '' } = this.#privateKey.export({ format: 'jwk' });
    return Buffer.from(hkdfSync('sha256', Buffer.from(d, 'base64url'), '', label, 32));
  }
}

function malformed(file: string, cause?: unknown): LocalFault {
  return new LocalFault('key-file-malformed', 'The key file does not hold an Ed25519 private key.', file, { cause });
}
