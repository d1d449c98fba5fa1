import { Injectable, type OnModuleInit } from '@nestjs/common';
import { and, asc, eq, inArray, isNull, or } from 'drizzle-orm';
import { createLogger } from '@capstan/platform';
import { DatabaseService } from '../database/database.service.js';
import { hurtConstraint, isTakenId } from '../database/database-faults.js';
import type { AuditEntry } from '../audit/audit-chain.js';
import { KILL_RECORD_MS, RecordWriter } from '../database/record-writer.js';
import type { EpochWrite } from '../killswitch/kill-epochs.js';
import { LeaseTerms } from '../leases/lease-terms.js';
import { commands } from '../database/schema.js';
import { WireFault } from '@capstan/protocol';
import { CommandBook } from './command.book.js';
import { type CommandRecord, isOpen, KILL_KINDS, type Refusal } from './command-record.js';
import { commandMove, commandOfRow, newCommandRow } from './command-rows.js';
import { type CommandState, mayBecome } from './command-state.js';
import { envelopeText } from './envelope-text.js';

const AGENT_EXISTS = ['agents_pkey', 'commands_spawn_of_agent'];

/** Commands on disk, with the book of those that matter now kept in step. */
@Injectable()
export class CommandStore implements OnModuleInit {
  private readonly log = createLogger('hub.commands');

  constructor(
    private readonly database: DatabaseService,
    private readonly writer: RecordWriter,
    private readonly book: CommandBook,
    private readonly terms: LeaseTerms,
  ) {}

  async onModuleInit(): Promise<void> {
    await this.loadOpen();
    // A commit whose answer was lost with the connection left a row that nobody here knows of.
    this.writer.onReturn = () => {
      this.loadOpen().catch((err: unknown) => {
        this.log.error({ err, msg: 'open commands were not read again' });
      });
    };
  }

  /** Resolves once the command is committed. @throws WireFault `agent-exists`, `replayed`; LocalFault `database-unavailable` */
  async add(record: CommandRecord, issuedBy: string): Promise<void> {
    const isSpawn = record.kind === 'agent.spawn';
    const newAgent = { agent_id: record.agentId, instance: record.instance };
    try {
      await this.writer.write({
        command: newCommandRow(record),
        ...(isSpawn ? { newAgent } : {}),
        audit: [issued(record, issuedBy)],
      });
    } catch (error) {
      if (isTakenId(error)) throw new WireFault('replayed', 'another command has this id', { cause: error });
      if (!AGENT_EXISTS.includes(hurtConstraint(error) ?? '')) throw error;
      throw new WireFault('agent-exists', record.agentId, { cause: error });
    }
    if (isSpawn) this.terms.ordered(record);
    this.book.keep(record);
  }

  /**
   * A kill is known at once and written when the database can: it must work without one. Resolves once it is on one disk, in
   * a second at most; nobody is answered before. Never rejects.
   *
   * @param epochs written in the same change, or neither is
   */
  addKill(record: CommandRecord, issuedBy: string, epochs?: EpochWrite): Promise<void> {
    this.book.keep(record);
    const audit = [{ ...issued(record, issuedBy), lateAfterMs: KILL_RECORD_MS }];
    const killEpochs = epochs?.rows ?? [];
    const { recorded, committed } = this.writer.writeKill({ command: newCommandRow(record), killEpochs, audit });
    const written = committed.catch((err: unknown) => {
      this.log.error({ err, command: record.id, msg: 'a kill was sent but could not be written' });
      if (isTakenId(err)) this.noteUsedId(record, issuedBy);
    });
    void written.then(epochs?.over);
    return recorded;
  }

  /** Another command has its id: it is in the chain, whole, and nowhere else. */
  private noteUsedId(record: CommandRecord, issuedBy: string): void {
    const entry = issued(record, issuedBy);
    const detail = { ...entry.detail, envelope: envelopeText(record.envelope) };
    this.writer
      .write({ audit: [{ ...entry, kind: 'kill.id-used', detail }] }, { whenAway: 'keep' })
      .catch((err: unknown) => {
        this.log.error({ err, command: record.id, msg: 'a kill under a used id is on no paper' });
      });
  }

  /** The command, from memory only. */
  known(id: string): CommandRecord | undefined {
    return this.book.get(id);
  }

  /** The command, from memory or from disk. */
  async find(id: string): Promise<CommandRecord | undefined> {
    const known = this.book.get(id);
    if (known !== undefined) return known;
    const [row] = await this.database.db.select().from(commands).where(eq(commands.id, id));
    return row === undefined ? undefined : commandOfRow(row);
  }

  /** The command in its new state; undefined where it may not go there. Whoever calls writes it and keeps it. */
  moved(
    record: CommandRecord,
    to: CommandState,
    news: { isAnswered?: boolean; refusal?: Refusal | null } = {},
  ): CommandRecord | undefined {
    const current = this.book.get(record.id) ?? record;
    if (current.state !== to && !mayBecome(current.state, to)) return undefined;
    const now = new Date();
    const isSettled = to === 'FAILED' || to === 'TIMEOUT' || news.isAnswered === true;
    return {
      ...current,
      state: to,
      deliveredAt: current.deliveredAt ?? (to === 'DELIVERED' ? now : null),
      settledAt: current.settledAt ?? (isSettled ? now : null),
      refusal: news.refusal === undefined && to === current.state ? current.refusal : (news.refusal ?? null),
    };
  }

  /**
   * A kill that its instance will not have: open as before, with the reason. Undefined where nothing is new; an unsigned word
   * replaces no other, so that a peer cannot fill the record with them.
   */
  refused(record: CommandRecord, refusal: Refusal, isSigned: boolean): CommandRecord | undefined {
    const current = this.book.get(record.id) ?? record;
    const isKnown = current.refusal !== null && (!isSigned || current.refusal.code === refusal.code);
    return !isOpen(current) || isKnown ? undefined : { ...current, refusal };
  }

  /** Makes the new state known. */
  keep(record: CommandRecord): void {
    this.book.keep(record);
  }

  /** Makes a move known that nobody waits for, and writes it soon. */
  keepAndWrite(record: CommandRecord, audit: readonly AuditEntry[] = []): void {
    this.book.keep(record);
    this.writer
      .write({ move: commandMove(record), audit }, { whenAway: 'keep', isLazy: true })
      .catch((err: unknown) => {
        this.log.error({ err, command: record.id, state: record.state, msg: 'the state of a command was not written' });
      });
  }

  private async loadOpen(): Promise<void> {
    const isTakenKill = and(eq(commands.state, 'DELIVERED'), inArray(commands.kind, KILL_KINDS));
    const rows = await this.database.db
      .select()
      .from(commands)
      .where(and(isNull(commands.settledAt), or(eq(commands.state, 'PENDING'), isTakenKill)))
      .orderBy(asc(commands.createdAt));
    for (const row of rows) if (this.book.get(row.id) === undefined) this.book.keep(commandOfRow(row));
  }
}

function issued(record: CommandRecord, issuedBy: string): AuditEntry {
  const { id, kind, instance, agentId, digest, createdAt, issuer } = record;
  return {
    kind: issuer === null ? 'command.issued' : 'command.routed',
    subject: id,
    atMs: createdAt.getTime(),
    detail: { command: kind, instance, agent: agentId, digest, by: issuedBy },
  };
}
