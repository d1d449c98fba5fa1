/** Sizes that every part of the mesh agrees on; bytes unless the name says otherwise. */
export const LIMITS = {
  /** A serialized envelope, whatever it carries. */
  envelopeBytes: 1024 * 1024,
  /** Signatures in one envelope: bounds what a stranger can make a receiver verify. */
  signatures: 8,
  /** Messages inside messages in one payload. */
  nesting: 16,
  /** One piece of a message on the link; small, so that a kill overtakes within one piece. */
  chunkBytes: 16 * 1024,
  /** One link message, put together from its pieces: an envelope, and a hub's admission of it. */
  messageBytes: 1024 * 1024 + 4 * 1024,
  /** One WebSocket frame. */
  frameBytes: 64 * 1024,
  /** One WebSocket frame before the peer is authenticated. */
  preAuthFrameBytes: 64 * 1024,
  /** One message on the reaper's socket. */
  reaperMessageBytes: 64 * 1024,
  /** Difference between two clocks that is borne, milliseconds. */
  clockSkewMs: 30_000,
  /** Lifetime of a payload that does not name its own, milliseconds. */
  lifetimeMs: 60_000,
  /** Lifetime of a lease renewal on its way, milliseconds; short, so that renewals cannot be hoarded. */
  renewalLifetimeMs: 30_000,
  /** The longest that a key is believed beside the one that replaces it, milliseconds: seven days. */
  keyOverlapMs: 7 * 24 * 3_600_000,
  /** Lifetime of a key statement on its way, milliseconds. */
  keyStatementLifetimeMs: 30 * 24 * 3_600_000,
  /** Without the hub, an agent whose spawn says nothing about it lives so long, milliseconds. */
  killAfterMs: 300_000,
} as const;
