import { isIPv6 } from 'node:net';

/** Counts sockets that have not authenticated, per address and in all. */
export class AddressCap {
  private readonly perAddress = new Map<string, number>();
  private total = 0;

  constructor(private readonly limits: { unauthenticated: number; unauthenticatedPerAddress: number }) {}

  /** Takes a place; undefined where none is left. The place is given back by disposing of it, once. */
  enter(remoteAddress: string | undefined): Disposable | undefined {
    const address = addressGroup(remoteAddress);
    const count = this.perAddress.get(address) ?? 0;
    if (count >= this.limits.unauthenticatedPerAddress || this.total >= this.limits.unauthenticated) return undefined;
    this.perAddress.set(address, count + 1);
    this.total += 1;
    let inside = true;
    return {
      [Symbol.dispose]: () => {
        if (inside) this.leave(address);
        inside = false;
      },
    };
  }

  private leave(address: string): void {
    const left = (this.perAddress.get(address) ?? 1) - 1;
    if (left === 0) this.perAddress.delete(address);
    else this.perAddress.set(address, left);
    this.total -= 1;
  }
}

/** Who an address stands for: one host has a whole IPv6 /64 to dial from. A unix socket has no address. */
export function addressGroup(remoteAddress: string | undefined): string {
  if (remoteAddress === undefined) return 'local';
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(remoteAddress)?.[1];
  if (mapped !== undefined) return mapped;
  if (!isIPv6(remoteAddress)) return remoteAddress;
  const [head = '', tail] = (remoteAddress.split('%')[0] ?? '').split('::');
  const before = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? [] : Array<string>(8 - before.length - after.length).fill('0');
  return [...before, ...zeros, ...after].slice(0, 4).join(':').toLowerCase();
}
