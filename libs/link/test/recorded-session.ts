import { createHash } from 'node:crypto';
import { SigningKey } from '@capstan/identity';
import { fromHex, type LaneName, type LinkMessage, LinkMessageSchema, toBinary, toHex } from '@capstan/protocol';
import type { Heartbeats, Link } from '../src/index.js';

type Side = 'hub' | 'spoke';

/** A session as it went over the wire, and what each end made of it; bytes are hex. See proto/vectors/README.md. */
export interface RecordedSession {
  protocol: number;
  /** Seeds of both keys and the nonces of both ends: with them the handshake gives the same bytes again. */
  hub: { id: string; seed: string; nonce: string };
  spoke: { id: string; seed: string; nonce: string };
  frames: { from: Side; bytes: string }[];
  heard: Record<Side, Heard>;
}

export interface Heard {
  /** SHA-256 of each serialized LinkMessage, by lane, in order. */
  messages: Partial<Record<LaneName, string[]>>;
  heartbeats: { sentAtMs: number; revocationEpoch: string; killEpochs: number; lease: string; treeHead: string }[];
  end: string;
}

export function keyOf({ seed }: { seed: string }): SigningKey {
  return SigningKey.fromSeed(fromHex(seed));
}

/** Starts a link and writes down all that it brings. */
export function listen(link: Link): Heard {
  const heard: Heard = { messages: {}, heartbeats: [], end: '' };
  link.onMessage = (lane, message: LinkMessage) => {
    (heard.messages[lane] ??= []).push(createHash('sha256').update(toBinary(LinkMessageSchema, message)).digest('hex'));
  };
  link.onHeartbeat = ({ sentAtMs, revocationEpoch, killEpochs, leaseRenewal, treeHead }: Heartbeats) => {
    heard.heartbeats.push({
      sentAtMs,
      revocationEpoch: String(revocationEpoch),
      killEpochs: killEpochs.length,
      lease: toHex(leaseRenewal ?? new Uint8Array()),
      treeHead: toHex(treeHead ?? new Uint8Array()),
    });
  };
  void link.closed.then(({ code }) => (heard.end = code));
  link.start();
  return heard;
}
