import nacl from 'tweetnacl';
import { LocalFault, type KeyId } from '@capstan/protocol';
import { createKeyFile, readKeyFile } from '../key-file.js';
import { keyIdOf } from '../key-id.js';

/** An X25519 key pair that opens what is sealed to it. The private half never leaves the object but into its own file. */
export class SealingKey {
  readonly keyId: KeyId;
  /** Raw X25519, 32 bytes. */
  readonly publicKey: Uint8Array;
  readonly #secretKey: Uint8Array;

  private constructor({ publicKey, secretKey }: nacl.BoxKeyPair) {
    this.publicKey = publicKey;
    this.keyId = keyIdOf(publicKey);
    this.#secretKey = secretKey;
  }

  /** A key that lives in memory only. */
  static generate(): SealingKey {
    return new SealingKey(nacl.box.keyPair());
  }

  /** @throws {LocalFault} `key-file-missing`, `key-file-open`, `key-file-malformed` */
  static async load(file: string): Promise<SealingKey> {
    const secretKey = Buffer.from((await readKeyFile(file)).trim(), 'base64');
    if (secretKey.length !== nacl.box.secretKeyLength)
      throw new LocalFault('key-file-malformed', 'The key file does not hold an X25519 private key.', file);
    return new SealingKey(nacl.box.keyPair.fromSecretKey(Uint8Array.from(secretKey)));
  }

  /** The key in the file; made first, mode 0600, where there is no file. Of two that race, both get the same key. */
  static async loadOrCreate(file: string): Promise<SealingKey> {
    try {
      return await SealingKey.load(file);
    } catch (error) {
      if (!(error instanceof LocalFault && error.code === 'key-file-missing')) throw error;
    }
    const pair = nacl.box.keyPair();
    try {
      await createKeyFile(file, `${Buffer.from(pair.secretKey).toString('base64')}\n`);
      return new SealingKey(pair);
    } catch (error) {
      if (error instanceof LocalFault && error.code === 'key-file-exists') return SealingKey.load(file);
      throw error;
    }
  }

  /** What a box for this key holds; undefined where it is not for this key, or was changed. */
  open(box: Uint8Array, nonce: Uint8Array, ephemeralKey: Uint8Array): Uint8Array | undefined {
    if (nonce.length !== nacl.box.nonceLength || ephemeralKey.length !== nacl.box.publicKeyLength) return undefined;
    return nacl.box.open(box, nonce, ephemeralKey, this.#secretKey) ?? undefined;
  }
}
