import { and, inArray } from 'drizzle-orm';
import { createLogger } from '@capstan/platform';
import type { AuditEntry } from '../audit/audit-chain.js';
import type { KillJournal, LeftBehind } from '../kill-journal/kill-journal.js';
import { isDataFault } from './database-faults.js';
import type { DatabaseService } from './database.service.js';
import type { RecordChange } from './record-change.js';
import { KILL_RECORD_MS, type RecordWriter } from './record-writer.js';
import { audit } from './schema.js';

/** Fewer than the writer takes. */
const AT_ONCE = 1_000;

const log = createLogger('hub.kill-journal');

/**
 * Writes into the database what earlier lives of a hub had ordered and not brought there. Whoever reads the database
 * afterwards finds these kills as if they had been committed when they were ordered, and delivers them; the chain calls
 * them late. What had been committed all the same is there once.
 *
 * @throws LocalFault `database-unavailable`; the journals stay as they are
 */
export async function replayKills(
  journal: KillJournal<RecordChange>,
  writer: RecordWriter,
  database: DatabaseService,
): Promise<void> {
  for (const left of await journal.takeOver()) {
    report(left);
    const known = await knownAudit(
      left.entries.flatMap((change) => change.audit),
      database,
    );
    for (let from = 0; from < left.entries.length; from += AT_ONCE) {
      await Promise.all(left.entries.slice(from, from + AT_ONCE).map((change) => replay(change, known, writer)));
    }
    if (left.damaged.length > 0) await writer.write({ audit: [damageOf(left)] });
    await journal.settle(left);
  }
}

function report({ path, entries, isTorn, damaged }: LeftBehind<RecordChange>): void {
  if (entries.length > 0)
    log.warn({ path, entries: entries.length, msg: 'kills of an earlier life are written down late' });
  if (isTorn) log.warn({ path, msg: 'the last entry of a journal of kills was cut off: nobody had an answer to it' });
  if (damaged.length > 0)
    log.error({ path, lines: damaged, msg: 'a journal of kills is damaged: these lines are lost' });
}

async function replay(change: RecordChange, known: ReadonlySet<string>, writer: RecordWriter): Promise<void> {
  const entries = change.audit.filter((entry) => !known.has(keyOf(entry)));
  const late = entries.map((entry) => ({ lateAfterMs: KILL_RECORD_MS, ...entry }));
  try {
    await writer.write({ ...change, audit: late });
  } catch (err) {
    if (!isDataFault(err)) throw err;
    // One that the database will never take must not keep the hub from starting.
    log.error({ err, command: change.command?.id, msg: 'the record of a kill was refused by the database' });
  }
}

/** Which of these entries are in the chain: the commit may have been done, and the word of it lost. */
async function knownAudit(entries: readonly AuditEntry[], { db }: DatabaseService): Promise<ReadonlySet<string>> {
  if (entries.length === 0) return new Set();
  const subjects = [...new Set(entries.map(({ subject }) => subject))];
  const kinds = [...new Set(entries.map(({ kind }) => kind))];
  const rows = await db
    .select({ kind: audit.kind, subject: audit.subject, record: audit.record })
    .from(audit)
    .where(and(inArray(audit.kind, kinds), inArray(audit.subject, subjects)));
  return new Set(
    rows.map(({ kind, subject, record }) => {
      const { at, detail } = JSON.parse(record) as { at: string; detail: AuditEntry['detail'] };
      return keyOf({ kind, subject, atMs: Date.parse(at), detail });
    }),
  );
}

/** Names what happened; the same text for an entry and for its row. */
function keyOf({ kind, subject, atMs, detail }: AuditEntry): string {
  return JSON.stringify([kind, subject, atMs, detail]);
}

function damageOf({ path, damaged }: LeftBehind<RecordChange>): AuditEntry {
  const detail = { file: path.slice(path.lastIndexOf('/') + 1), lines: damaged.length };
  return { kind: 'kill-journal.damaged', subject: 'kill-journal', atMs: Date.now(), detail };
}
