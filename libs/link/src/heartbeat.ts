import { create, type Heartbeat, HeartbeatSchema, WireFault } from '@capstan/protocol';
import type { HeartbeatContent, Heartbeats } from './link.js';

const NOTHING = new Uint8Array();
/** A consistency proof has at most one hash more than the tree has levels. */
const MOST_HASHES = 64;

export function makeHeartbeat(content: HeartbeatContent): Heartbeat {
  const { revocationEpoch, killEpochs, leaseRenewal, treeHead, treeProof, treeHeld } = content;
  return create(HeartbeatSchema, {
    sentAtMs: BigInt(Date.now()),
    revocationEpoch,
    killEpochs,
    leaseRenewal: leaseRenewal ?? NOTHING,
    treeHead: treeHead ?? NOTHING,
    ...(treeProof === undefined ? {} : { treeProof: { from: BigInt(treeProof.from), hashes: [...treeProof.hashes] } }),
    treeHeld: BigInt(treeHeld ?? 0),
  });
}

/** Throws WireFault frame-too-large where a renewal or a tree head has more than `mostBytes`, and frame-malformed. */
export function readHeartbeat(heartbeat: Heartbeat, mostBytes: number): Heartbeats {
  const { sentAtMs, revocationEpoch, killEpochs } = heartbeat;
  return {
    sentAtMs: Number(sentAtMs),
    revocationEpoch,
    killEpochs,
    ...withinBounds('leaseRenewal', heartbeat.leaseRenewal, mostBytes),
    ...withinBounds('treeHead', heartbeat.treeHead, mostBytes),
    ...proofOf(heartbeat.treeProof),
    treeHeld: sizeOf(heartbeat.treeHeld),
  };
}

function proofOf(proof: Heartbeat['treeProof']): Pick<Heartbeats, 'treeProof'> {
  if (proof === undefined) return {};
  if (proof.hashes.length > MOST_HASHES) throw new WireFault('frame-malformed', 'a proof of too many hashes');
  return { treeProof: { from: sizeOf(proof.from), hashes: proof.hashes } };
}

function sizeOf(size: bigint): number {
  if (size > BigInt(Number.MAX_SAFE_INTEGER)) throw new WireFault('frame-malformed', 'an absurd size');
  return Number(size);
}

function withinBounds(name: 'leaseRenewal' | 'treeHead', bytes: Uint8Array, mostBytes: number): Partial<Heartbeats> {
  if (bytes.length === 0) return {};
  if (bytes.length > mostBytes) throw new WireFault('frame-too-large', `${name} of ${String(bytes.length)} bytes`);
  return { [name]: bytes };
}
