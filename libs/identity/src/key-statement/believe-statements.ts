import {
  decodeStrict,
  Direction,
  type Envelope,
  type FaultCode,
  KeyStatementSchema,
  WireFault,
} from '@capstan/protocol';
import type { KeyRecord } from '../key-record.js';
import { KeyRing } from '../key-ring.js';
import { type VerifiedKeyStatement, verifyKeyStatement } from './verify-key-statement.js';

/** A statement about a known key that is not followed, and why. Nothing in it is verified. */
export interface SkippedStatement {
  /** Whose key it would replace. */
  owner: string;
  oldKeyId: string;
  newKeyId: string;
  code: FaultCode;
}

/** What comes of statements. */
export interface Belief {
  /** The pinned keys, each with its end, and those that came after them. */
  keys: KeyRing;
  /** In the order in which they lead from one key to the next. */
  followed: VerifiedKeyStatement[];
  skipped: SkippedStatement[];
}

interface Told {
  envelope: Envelope;
  oldKeyId: string;
  newKeyId: string;
}

/**
 * The pinned keys, and those that came after them by statements that hold: for what is verified long after. The order of
 * the statements is nothing; one whose key nobody has pinned adds nothing. A statement that cannot be believed is skipped:
 * it ends the way of its own owner there, and of nobody else.
 *
 * A statement of a root key is followed where that key is pinned for its owner, with the purpose `root`, and stands above
 * those that the old key has signed: what came after the old key without it is revoked. Where two of equal standing name
 * different keys, neither is followed (`key-fork`).
 */
export function believeStatements(pinned: KeyRing, statements: readonly Envelope[]): Belief {
  return new Reader(pinned, statements).read();
}

class Reader {
  private readonly keys: KeyRing;
  private readonly told: Map<string, Told[]>;
  private readonly skipped = new Map<string, SkippedStatement>();
  private readonly followed: VerifiedKeyStatement[] = [];
  private readonly voided = new Set<string>();

  constructor(pinned: KeyRing, statements: readonly Envelope[]) {
    this.keys = new KeyRing(pinned.records());
    this.told = Map.groupBy(statements.flatMap(readTold), ({ oldKeyId }) => oldKeyId);
  }

  read(): Belief {
    const { keys, followed } = this;
    const open: string[] = keys.records().map(({ keyId }) => keyId);
    // Grows while it is walked: each key that is reached may lead on.
    for (const keyId of open) {
      const next = this.followFrom(keyId);
      if (next !== undefined) open.push(next);
    }
    this.blameBehind();
    return { keys, followed, skipped: [...this.skipped.values()] };
  }

  /** @returns the key that is reached, where that is news */
  private followFrom(keyId: string): string | undefined {
    const old = this.keys.get(keyId);
    const about = this.told.get(keyId);
    if (old === undefined || about === undefined || this.voided.has(keyId)) return undefined;
    const held = about.flatMap((told) => this.held(told, old));
    const byRoot = held.filter(({ by }) => by === 'root-key');
    const believed = byRoot.length > 0 ? byRoot : held;
    const [first] = believed;
    if (first === undefined) return undefined;
    const rivals = held.filter(({ newKey }) => newKey.keyId !== first.newKey.keyId);
    if (rivals.some((rival) => believed.includes(rival))) {
      for (const { newKey } of held) this.skip(old, newKey.keyId, 'key-fork');
      return undefined;
    }
    for (const { newKey } of rivals) {
      this.skip(old, newKey.keyId, 'key-revoked');
      this.revokeFrom(newKey.keyId, first.oldKey.revokedAt ?? 0);
    }
    return this.pin(believed, first);
  }

  private pin(believed: readonly VerifiedKeyStatement[], first: VerifiedKeyStatement): string | undefined {
    const { newKey } = first;
    const isKnown = this.keys.get(newKey.keyId)?.epoch === newKey.epoch;
    for (const { oldKey } of believed) pinSuccessor(this.keys, newKey, oldKey);
    this.skipped.delete(newKey.keyId);
    if (isKnown) return undefined;
    this.followed.push(first);
    return newKey.keyId;
  }

  /** Verified with the old key as it was before anything took its place: what was followed once must be found again. */
  private held({ envelope, newKeyId }: Told, old: KeyRecord): VerifiedKeyStatement[] {
    try {
      const verified = verifiedWith(envelope, unended(old), this.rootOf(old.owner, envelope));
      checkNoLoop(this.keys.get(newKeyId), verified.newKey);
      return [verified];
    } catch (error) {
      if (!(error instanceof WireFault)) throw error;
      this.skip(old, newKeyId, error.code);
      return [];
    }
  }

  private rootOf(owner: string, { signatures }: Envelope): Uint8Array | null {
    const roots = this.keys.records().filter((key) => key.owner === owner && key.purposes.includes('root'));
    const root = roots.find(({ keyId }) => signatures.some((signature) => signature.keyId === keyId));
    return root === undefined || root.revokedAt !== undefined ? null : root.publicKey;
  }

  /** A key that came by the hand of a thief, and those that it has named in turn. */
  private revokeFrom(keyId: string, atMs: number): void {
    const key = this.keys.get(keyId);
    if (key === undefined || this.voided.has(keyId)) return;
    this.voided.add(keyId);
    this.keys.revoke(key.keyId, atMs);
    for (const told of this.told.get(keyId) ?? [])
      for (const { newKey } of this.held(told, key)) this.revokeFrom(newKey.keyId, atMs);
  }

  private skip({ owner, keyId }: KeyRecord, newKeyId: string, code: FaultCode): void {
    this.skipped.set(newKeyId, { owner, oldKeyId: keyId, newKeyId, code });
  }

  /** What leads on from a key that was not followed is not followed for the same reason. */
  private blameBehind(): void {
    const open = [...this.skipped.values()];
    for (const { owner, newKeyId, code } of open)
      for (const told of this.told.get(newKeyId) ?? []) {
        if (this.keys.get(newKeyId) !== undefined || this.skipped.has(told.newKeyId)) continue;
        const behind = { owner, oldKeyId: newKeyId, newKeyId: told.newKeyId, code };
        this.skipped.set(told.newKeyId, behind);
        open.push(behind);
      }
  }
}

function readTold(envelope: Envelope): Told[] {
  try {
    const { oldKeyId, newKey } = decodeStrict(KeyStatementSchema, envelope.payload);
    return [{ envelope, oldKeyId, newKeyId: newKey?.keyId ?? '' }];
  } catch {
    // It names no key that it could be about.
    return [];
  }
}

/** Which hub it is about, its signatures alone say: whoever keeps it has pinned the key, not the hub. */
function verifiedWith(envelope: Envelope, old: KeyRecord, rootKey: Uint8Array | null): VerifiedKeyStatement {
  const { issuer = '', audience: hubId = '' } = decodeStrict(KeyStatementSchema, envelope.payload).header ?? {};
  const direction = issuer === hubId ? Direction.HUB_TO_SPOKE : Direction.SPOKE_TO_HUB;
  const { purposes } = old;
  return verifyKeyStatement(envelope, {
    keys: new KeyRing([old]),
    hubId,
    direction,
    rootKey,
    purposes,
    nowMs: 0,
    expiry: 'exempt',
  });
}

/** One that was revoked, and not by being replaced, stays so. */
function unended({ validUntil, revokedAt, ...old }: KeyRecord): KeyRecord {
  return validUntil === undefined && revokedAt !== undefined ? { ...old, revokedAt } : old;
}

function checkNoLoop(known: KeyRecord | undefined, { owner, epoch, keyId }: KeyRecord): void {
  if (known === undefined) return;
  const isOver = known.validUntil !== undefined || known.revokedAt !== undefined;
  if (known.owner !== owner || (isOver && known.epoch !== epoch))
    throw new WireFault('key-statement', `${keyId} was another key's before`);
}

/** Pins the new key and ends the old one. */
export function pinSuccessor(ring: KeyRing, newKey: KeyRecord, oldKey: KeyRecord): void {
  ring.add(oldKey);
  ring.add(newKey);
}
