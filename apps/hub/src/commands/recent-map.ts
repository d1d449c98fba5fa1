/**
 * A map that remembers at least the last `most` entries and at most twice as many: two generations, of which the older
 * is dropped whole. A set that forgets its oldest entry each time walks over ever more deleted ones.
 */
export class RecentMap<K, V> {
  private current = new Map<K, V>();
  private previous = new Map<K, V>();

  constructor(private readonly most: number) {}

  get(key: K): V | undefined {
    return this.current.get(key) ?? this.previous.get(key);
  }

  has(key: K): boolean {
    return this.current.has(key) || this.previous.has(key);
  }

  set(key: K, value: V): void {
    if (this.current.size >= this.most) {
      this.previous = this.current;
      this.current = new Map();
    }
    this.current.set(key, value);
  }
}
