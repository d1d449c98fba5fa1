/**
 * How much may be on its way to the peer. Each 16 KiB or so a WebSocket ping follows; its pong says that the peer has
 * read everything before it (RFC 6455, section 5.5.3). That bounds what waits in our own buffer and in both kernels',
 * which alone take megabytes: a kill would wait behind all of it.
 */
export class SendWindow {
  private readonly pings: { id: number; bytes: number; sentAtMs: number }[] = [];
  private sinceLastPing = 0;
  private inFlight = 0;
  private nextId = 1;

  constructor(private readonly limits: { windowBytes: number; chunkBytes: number }) {}

  get unconfirmedBytes(): number {
    return this.inFlight;
  }

  hasRoomFor(bytes: number): boolean {
    return this.inFlight + bytes <= this.limits.windowBytes;
  }

  /** Counts bytes that were sent; answers with the payload of the ping that is now due, if one is. */
  sent(bytes: number, nowMs: number): Uint8Array | undefined {
    this.inFlight += bytes;
    this.sinceLastPing += bytes;
    if (this.sinceLastPing < this.limits.chunkBytes) return undefined;
    const id = this.nextId++;
    this.pings.push({ id, bytes: this.sinceLastPing, sentAtMs: nowMs });
    this.sinceLastPing = 0;
    const payload = Buffer.alloc(8);
    payload.writeBigUInt64BE(BigInt(id));
    return payload;
  }

  /** A pong confirms its ping and all before it (a peer may answer the latest only). Unknown pongs mean nothing. */
  confirmed(payload: Uint8Array): void {
    if (payload.length !== 8) return;
    const id = Number(Buffer.from(payload).readBigUInt64BE());
    const at = this.pings.findIndex((ping) => ping.id === id);
    for (const ping of this.pings.splice(0, at + 1)) this.inFlight -= ping.bytes;
  }

  /** When the oldest unconfirmed ping was sent. */
  get waitingSinceMs(): number | undefined {
    return this.pings[0]?.sentAtMs;
  }
}
