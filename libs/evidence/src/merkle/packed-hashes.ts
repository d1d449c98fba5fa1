import { HASH_BYTES } from './tree-hash.js';

/** Hashes in one buffer that doubles: an array of as many objects would take four times the memory. */
export class PackedHashes {
  private bytes = new Uint8Array(64 * HASH_BYTES);
  private count = 0;

  push(hash: Uint8Array): void {
    const at = this.count * HASH_BYTES;
    if (at === this.bytes.length) {
      const grown = new Uint8Array(this.bytes.length * 2);
      grown.set(this.bytes);
      this.bytes = grown;
    }
    this.bytes.set(hash, at);
    this.count += 1;
  }

  at(index: number): Uint8Array {
    if (index >= this.count) throw new RangeError('no such hash');
    return this.bytes.slice(index * HASH_BYTES, (index + 1) * HASH_BYTES);
  }
}
