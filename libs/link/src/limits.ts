import { LIMITS } from '@capstan/protocol';

/** The WebSocket subprotocol: handshake and frames. What they carry is agreed on by the versions in the Hello. */
export const SUBPROTOCOL = 'capstan.v1';

/** Protocol versions that this library speaks, the best one last: the newest, and the one before it. */
export const VERSIONS: readonly number[] = [1];

/** What one link may cost its host. Times are milliseconds, sizes bytes. */
export interface LinkLimits {
  /** From the accepted socket to the Welcome. */
  authenticateMs: number;
  /** Sockets of one address (IPv6: one /64) that have not authenticated. */
  unauthenticatedPerAddress: number;
  /** Sockets of all addresses that have not authenticated. */
  unauthenticated: number;
  frameBytes: number;
  /** WebSocket fragments of one frame. */
  fragments: number;
  /** Pieces of an incomplete frame that the WebSocket library may hold. */
  bufferedChunks: number;
  /** Payload of one Chunk. */
  chunkBytes: number;
  /** One LinkMessage: an envelope of the largest size and its wrapping. */
  messageBytes: number;
  /** Bytes sent, the kill lane's aside, that the peer has not yet confirmed to have read. */
  windowBytes: number;
  /** Each of a heartbeat's two envelopes. */
  heartbeatPartBytes: number;
  heartbeatMs: number;
  /** Silence after which the peer is gone. */
  deadAfterMs: number;
  /** For the closing handshake, before the socket is cut. */
  closeMs: number;
}

/**
 * The defaults. Those of ws let 40 unauthenticated connections pin 70 MB (measured); with these, 40 pin less than 3.
 */
export const LINK_LIMITS: LinkLimits = {
  authenticateMs: 5_000,
  unauthenticatedPerAddress: 32,
  unauthenticated: 1_024,
  frameBytes: LIMITS.preAuthFrameBytes,
  fragments: 16,
  bufferedChunks: 64,
  chunkBytes: LIMITS.chunkBytes,
  messageBytes: LIMITS.messageBytes,
  windowBytes: 65_536,
  heartbeatPartBytes: 8_192,
  heartbeatMs: 5_000,
  deadAfterMs: 15_000,
  closeMs: 1_000,
};
