import type { KeyId, KillEpoch, LaneName, LinkMessage, Welcome } from '@capstan/protocol';

/** Why a link ended. `code` is a fault code, or `closed` for an orderly end, or `link-lost` where the socket broke. */
export interface LinkEnd {
  code: string;
  sentence: string;
}

/** Epochs that ride in a Welcome and in each heartbeat, the hub's and the reaper's alike. */
export interface LinkEpochs {
  revocationEpoch: bigint;
  killEpochs: KillEpoch[];
}

/** What one side says in each heartbeat. */
export interface HeartbeatContent extends LinkEpochs {
  /** Hub to spoke: a serialized Envelope with a LeaseRenewal. */
  leaseRenewal?: Uint8Array | undefined;
  /** A serialized Envelope with a TreeHead of the sender's log. */
  treeHead?: Uint8Array | undefined;
  /** Comes with `treeHead`: consistency from the size that the receiver holds. */
  treeProof?: { from: number; hashes: readonly Uint8Array[] } | undefined;
  /** Size of the receiver's log of which the sender holds a head; 0, or nothing, where it holds none. */
  treeHeld?: number | undefined;
}

/** Whom a heartbeat is for. */
export interface LinkPeer {
  readonly peerId: string;
  readonly sessionId: string;
  readonly sessionEpoch: bigint;
}

export interface LinkStats {
  framesIn: number;
  framesOut: number;
  bytesIn: number;
  bytesOut: number;
  /** Frames that could not be parsed, or broke the order of their lane; the first one closes the link. */
  faultyFrames: number;
  /** Bytes sent that the peer has not confirmed; the kill lane's aside, never above the window. */
  unconfirmedBytes: number;
  /** Messages whose senders wait. */
  waitingMessages: number;
}

/**
 * A heartbeat as it came in. Renewal and tree head are the peer's bytes, at most 8 KiB each and nothing else checked.
 */
export interface Heartbeats extends HeartbeatContent {
  sentAtMs: number;
}

/** `send` on a link that is closed, or that closed before the message was handed to the socket. */
export class LinkClosed extends Error {
  override readonly name = 'LinkClosed';

  constructor(readonly end: LinkEnd) {
    super(`The link is closed: ${end.code}`);
  }
}

/** One authenticated session between a spoke and a hub. */
export interface Link extends LinkPeer {
  /** Instance id at the hub, hub id at the spoke. */
  readonly peerId: string;
  /** The key that the peer has proven to hold. */
  readonly peerKeyId: KeyId;
  /** The key with which this side has proven itself: what the peer knows of it. */
  readonly ownKeyId?: KeyId;
  readonly sessionId: string;
  readonly sessionEpoch: bigint;
  /** Protocol version that both sides agreed on. */
  readonly version: number;
  readonly welcome: Welcome;
  readonly stats: Readonly<LinkStats>;
  /** Settles once, with the reason, when the link has ended; never rejects. */
  readonly closed: Promise<LinkEnd>;

  /** Called for each complete message, in order within a lane. Set by the owner before `start`. Must not throw. */
  onMessage: (lane: LaneName, message: LinkMessage) => void;
  onHeartbeat?: ((heartbeat: Heartbeats) => void) | undefined;

  /** Begins to read and to send heartbeats, the first at once. Nothing is delivered before it. */
  start(): void;

  /**
   * Resolves when the message's last chunk was handed to the socket; that does not say that the peer has it.
   * Waits while the lane is full. Throws LinkClosed, and WireFault envelope-too-large above 1 MiB.
   */
  send(lane: LaneName, message: LinkMessage): Promise<void>;

  /** Says farewell and closes; resolves when the socket is gone. */
  close(code: string, sentence: string): Promise<void>;
}
