import { type Belief, believeStatements, type KeyRing } from '@capstan/identity';
import { decodeStrict, type Envelope, KeyStatementSchema } from '@capstan/protocol';

/** Of one message; a hub sends no more. */
const MOST_STATEMENTS = 64;

/** What statements make of pinned keys. Those that say nothing new cost no verification. */
export function followed(pinned: KeyRing, statements: readonly Envelope[]): Belief {
  const some = statements.slice(-MOST_STATEMENTS);
  if (some.every((statement) => isOld(pinned, statement))) return { keys: pinned, followed: [], skipped: [] };
  return believeStatements(pinned, some);
}

function isOld(pinned: KeyRing, { payload }: Envelope): boolean {
  try {
    const { oldKeyId, newKey } = decodeStrict(KeyStatementSchema, payload);
    const [before, after] = [pinned.get(oldKeyId), pinned.get(newKey?.keyId ?? '')];
    return after !== undefined && (before === undefined || before.validUntil !== undefined);
  } catch {
    return true;
  }
}
