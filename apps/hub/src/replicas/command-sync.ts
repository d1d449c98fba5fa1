import { Injectable } from '@nestjs/common';
import { eq, inArray } from 'drizzle-orm';
import { fromHex } from '@capstan/protocol';
import { AgentDirectory } from '../agents/agent.directory.js';
import { Answers } from '../commands/answers.js';
import { CommandBook } from '../commands/command.book.js';
import { type CommandRecord, isOpen } from '../commands/command-record.js';
import { commandOfRow } from '../commands/command-rows.js';
import { mayBecome } from '../commands/command-state.js';
import { Outbox } from '../commands/outbox.js';
import { RecentMap } from '../commands/recent-map.js';
import { DatabaseService } from '../database/database.service.js';
import { commands, receipts } from '../database/schema.js';
import { orderedScope } from '../killswitch/ordered-scope.js';
import { Stopping } from '../killswitch/stopping.js';
import { LeaseTerms } from '../leases/lease-terms.js';
import { takenOfRow } from '../receipts/receipt-rows.js';

const MOST_TOLD = 5_000;

/** Takes up the commands of other replicas and what became of them, as the database has them. */
@Injectable()
export class CommandSync {
  /** Receipts that were told here. */
  private readonly told = new RecentMap<string, true>(MOST_TOLD);

  constructor(
    private readonly database: DatabaseService,
    private readonly book: CommandBook,
    private readonly outbox: Outbox,
    private readonly answers: Answers,
    private readonly agents: AgentDirectory,
    private readonly terms: LeaseTerms,
    private readonly stopping: Stopping,
  ) {}

  /**
   * Reads the commands of `ids` and tells what is new: to the instance if it is linked here, and to whoever waits.
   *
   * @param successors of those that go on as another command: whoever waits for one hears what becomes of the other
   */
  async commands(ids: readonly string[], successors: ReadonlyMap<string, string>): Promise<void> {
    if (ids.length === 0) return;
    for (const [id, successor] of successors) this.answers.goesOn(id, successor);
    const rows = await this.database.db
      .select()
      .from(commands)
      .where(inArray(commands.id, [...ids]));
    for (const row of rows) this.take(commandOfRow(row), successors.has(row.id));
  }

  /** Reads the receipts of `digests`, hex, and tells those that somebody waits for. */
  async receipts(digests: readonly string[]): Promise<void> {
    const wanted = digests.filter((digest) => !this.told.has(digest)).map((digest) => fromHex(digest));
    if (wanted.length === 0) return;
    const rows = await this.database.db
      .select({ receipt: receipts, command: commands })
      .from(receipts)
      .innerJoin(commands, eq(commands.id, receipts.commandId))
      .where(inArray(receipts.digest, wanted))
      .orderBy(receipts.sequence);
    for (const { receipt, command } of rows) {
      this.told.set(Buffer.from(receipt.digest).toString('hex'), true);
      const record = this.book.get(command.id) ?? commandOfRow(command);
      this.answers.publish({ record, receipt: takenOfRow(receipt, command.envelope), isElsewhere: true });
    }
  }

  /** Whether anybody here could want the receipts of a command: its caller, its origin, or who pursues a kill-all. */
  isWanted(commandId: string): boolean {
    const record = this.book.get(commandId);
    return this.answers.isAwaited(commandId) || record?.kind === 'agent.kill-all' || (record?.issuer ?? null) !== null;
  }

  private take(record: CommandRecord, isSuperseded: boolean): void {
    const known = this.book.get(record.id);
    if (known !== undefined && !isNews(known, record)) return;
    if (known === undefined) this.begin(record);
    else this.book.keep(record);
    if (record.kind === 'agent.kill-all') this.stopping.heard(record);
    if (record.refusal !== null) this.answers.publish({ record, isElsewhere: true, isSuperseded });
  }

  private begin(record: CommandRecord): void {
    if (record.kind === 'agent.spawn') {
      this.terms.ordered(record);
      this.agents.keep(record.agentId, record.instance, record.state === 'FAILED');
    }
    this.book.keepForeign(record);
    if (!isOpen(record)) return;
    const ordered = record.kind === 'agent.kill-all' ? orderedScope(record.envelope) : undefined;
    if (ordered !== undefined)
      this.stopping.begin(record.instance, record.id, { ...ordered.scope, epoch: ordered.epoch });
    this.outbox.offer(record);
  }
}

/** What is known here may be ahead of the row: this replica may have moved the command and not written it yet. */
function isNews(known: CommandRecord, row: CommandRecord): boolean {
  if (known.state !== row.state) return mayBecome(known.state, row.state);
  return known.settledAt === null && row.settledAt !== null;
}
