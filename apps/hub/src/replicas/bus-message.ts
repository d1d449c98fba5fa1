import type { LaneName } from '@capstan/protocol';

/** A link that the sender holds. */
export interface HeldLink {
  instance: string;
  /** Id of the key that the instance has proven. */
  key: string;
  /** Session epoch, decimal. */
  epoch: string;
  /** When the sender has renewed its leases last, milliseconds. */
  renewedAtMs: number;
}

/**
 * What replicas tell each other, under the seal of `BusSeal`. All of it is news: what must not be lost is in PostgreSQL, and
 * read from there. Envelopes are base64 and are verified by whoever takes them.
 */
export type BusMessage =
  /** Something was committed. */
  | { kind: 'wrote' }
  /** Every link that the sender holds; what is not here it holds no more. */
  | { kind: 'links'; links: HeldLink[] }
  /** A kill whose instance is not at the sender. */
  | { kind: 'kill'; envelope: string; admission: string | null }
  /** For the holder of the instance's link: a question. */
  | { kind: 'ask'; instance: string; lane: LaneName; id: string; envelope: string }
  /** A receipt that the sender has taken and others wait for: of a kill, or of a question. */
  | { kind: 'answer'; instance: string; envelope: string }
  /** Lines of a log that is watched somewhere else: an event. */
  | { kind: 'lines'; instance: string; envelope: string }
  /** An instance would not take a question. */
  | { kind: 'rejected'; instance: string; digest: string; code: string }
  /** Kill epochs as an instance's reaper tells them, decimal. */
  | { kind: 'told'; instance: string; epochs: { scope: string; scopeId: string; epoch: string }[] };

export type BusKind = BusMessage['kind'];
export type MessageOf<K extends BusKind> = Extract<BusMessage, { kind: K }>;

const KINDS: readonly BusKind[] = ['wrote', 'links', 'kill', 'ask', 'answer', 'lines', 'rejected', 'told'];

/** Whether a message of another replica is one that this version knows. */
export function isBusMessage(message: { kind?: unknown } | undefined): message is BusMessage {
  return KINDS.some((kind) => kind === message?.kind);
}
