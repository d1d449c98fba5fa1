import { Injectable } from '@nestjs/common';
import { provesKillAll, type VerifiedReceipt, verifyReceipt } from '@capstan/evidence';
import { checkKeyEpoch } from '@capstan/identity';
import { type Envelope, faultSentence, isFaultCode, killOutcomeName, type Receipt } from '@capstan/protocol';
import { AgentDirectory } from '../agents/agent.directory.js';
import { type Reported, reported } from '../agents/agent-report.js';
import type { AuditEntry } from '../audit/audit-chain.js';
import { Answers } from '../commands/answers.js';
import { type CommandRecord, isKill, isPursued } from '../commands/command-record.js';
import { commandMove } from '../commands/command-rows.js';
import { CommandStore } from '../commands/command.store.js';
import { RecentMap } from '../commands/recent-map.js';
import { ConnectionStore } from '../connections/connection.store.js';
import { RecordWriter } from '../database/record-writer.js';
import { HubIdentity } from '../identity/hub-identity.js';
import { Probes } from '../killswitch/probes.js';
import { Queries } from '../queries/queries.js';
import { LinkRelay } from '../replicas/link-relay.js';
import { checkAnswers } from './answered.js';
import { ReceiptStore } from './receipt.store.js';
import { newReceiptRow } from './receipt-rows.js';
import { ReceiptsInHand } from './receipts-in-hand.js';
import { UnmatchedReceipts } from './unmatched-receipts.js';
import type { TakenReceipt } from './taken-receipt.js';

/** Digests of receipts that are stored; a spoke repeats what it has not heard acknowledged. */
const MOST_REMEMBERED = 5_000;

/** Takes receipts: verified against the keys pinned for the instance and the command's digest, then stored. */
@Injectable()
export class ReceiptIntake {
  private readonly stored = new RecentMap<string, true>(MOST_REMEMBERED);
  private readonly orderless = new RecentMap<string, true>(MOST_REMEMBERED);
  private readonly inHand = new ReceiptsInHand();

  constructor(
    private readonly identity: HubIdentity,
    private readonly connections: ConnectionStore,
    private readonly commands: CommandStore,
    private readonly queries: Queries,
    private readonly agents: AgentDirectory,
    private readonly answers: Answers,
    private readonly writer: RecordWriter,
    private readonly unmatched: UnmatchedReceipts,
    private readonly probes: Probes,
    private readonly relay: LinkRelay,
    private readonly receipts: ReceiptStore,
  ) {}

  /**
   * Resolves once the receipt is on disk; one that is there already is accepted without effect.
   *
   * @throws WireFault why it is refused
   */
  async take(instance: string, envelope: Envelope): Promise<void> {
    const verified = this.verified(instance, envelope);
    const digest = Buffer.from(verified.digest).toString('hex');
    if (this.stored.has(digest)) return;
    // Repeated while the database is away, it would fill the journal of kills.
    await this.inHand.once(digest, () => this.takeNew(instance, envelope, verified, digest));
  }

  private async takeNew(
    instance: string,
    envelope: Envelope,
    verified: VerifiedReceipt,
    digest: string,
  ): Promise<void> {
    const { receipt } = verified;
    if (this.relay.took(receipt.commandId, instance, envelope)) return;
    if (this.queries.take(verified) || this.probes.take(verified, envelope)) return;
    const record = await this.commands.find(receipt.commandId);
    if (record === undefined) {
      if (this.orderless.has(digest)) return;
      await this.unmatched.keep(verified, envelope, digest);
      // Not as stored: its order may come to light, when the hub that gave it is started again and reads its journal.
      this.orderless.set(digest, true);
      return;
    }
    checkAnswers(verified, record, record.issuer ?? this.identity.hubId);
    await this.store(takenOf(verified, envelope, record), digest, record);
    this.stored.set(digest, true);
  }

  /**
   * A receipt that another replica has taken, and stores: told here to whoever waits.
   *
   * @throws WireFault why it is refused
   */
  hear(instance: string, envelope: Envelope): void {
    const { hubId } = this.identity;
    const verified = this.verified(instance, envelope);
    if (this.queries.take(verified) || this.probes.take(verified, envelope)) return;
    const record = this.commands.known(verified.receipt.commandId);
    if (record === undefined) return;
    checkAnswers(verified, record, record.issuer ?? hubId);
    this.tell(takenOf(verified, envelope, record), record, true);
  }

  private verified(instance: string, envelope: Envelope): VerifiedReceipt {
    const { keys } = this.connections.ofInstance(instance);
    const verified = verifyReceipt({ envelope, keys, hubId: this.identity.hubId });
    checkKeyEpoch(verified.key, { keyEpoch: verified.receipt.header?.keyEpoch ?? 0 });
    return verified;
  }

  private async store(taken: TakenReceipt, digest: string, record: CommandRecord): Promise<void> {
    const news = newsOf(taken, record.instance);
    const moved = this.moved(taken, record);
    // Nobody who waits for a death waits for a disk.
    if (isKill(record.kind)) this.tell(taken, record);
    if (await this.isStored(digest, record)) return;
    const change = {
      receipt: newReceiptRow(taken, digest, record.instance),
      ...(moved === undefined ? {} : { move: commandMove(moved) }),
      ...(news === undefined ? {} : { report: news.report }),
      audit: [stored(taken, digest, record)],
    };
    const size = taken.envelope.payload.length;
    const writeKill = (): Promise<void> => this.writer.writeKill(change).committed;
    if (isKill(record.kind)) await this.inHand.counted(record.instance, size, writeKill);
    else await this.writer.write(change, { whenAway: 'keep' });
    if (!isKill(record.kind)) this.tell(taken, record);
  }

  /** Taken by another replica, or before this hub's start; a first answer is not looked for, nor is one while the database is away. */
  private async isStored(digest: string, { settledAt }: CommandRecord): Promise<boolean> {
    return settledAt !== null && (await this.receipts.holds(digest).catch(() => false));
  }

  private tell(taken: TakenReceipt, record: CommandRecord, isElsewhere = false): void {
    const news = newsOf(taken, record.instance);
    // Asked again: something else may have been heard of the command while this was written.
    const now = this.moved(taken, record);
    if (now !== undefined) this.commands.keep(now);
    if (news !== undefined) this.agents.keep(news.report.agent_id, record.instance, news.hasEnded);
    // A refused spawn leaves no agent behind that would have to be remembered.
    else if (record.kind === 'agent.spawn' && taken.kind === 'refused')
      this.agents.keep(record.agentId, record.instance, true);
    this.answers.publish({ record: now ?? record, receipt: taken, isElsewhere });
  }

  private moved({ receipt }: TakenReceipt, record: CommandRecord): CommandRecord | undefined {
    if (!isAnswer(receipt)) return undefined;
    const refusal = refusalOf(receipt);
    if (refusal === undefined) return this.commands.moved(record, 'DELIVERED', { isAnswered: true, refusal: null });
    if (isPursued(record)) return this.commands.refused(record, refusal, true);
    return this.commands.moved(record, 'FAILED', { isAnswered: true, refusal });
  }
}

function takenOf(
  { kind, receipt }: VerifiedReceipt,
  envelope: Envelope,
  { envelope: command }: CommandRecord,
): TakenReceipt {
  return { kind, envelope, command, receipt, receivedAt: new Date() };
}

/** A death that nobody has seen answers nothing: the order stays open, and the instance is told of it until it is proven. */
function isAnswer({ result }: Receipt): boolean {
  if (result.case === 'killed') return killOutcomeName(result.value.outcome) !== 'unconfirmed';
  return result.case !== 'killedAll' || provesKillAll({ result });
}

function newsOf({ receipt, receivedAt }: TakenReceipt, instance: string): Reported | undefined {
  const { result, header } = receipt;
  if (result.case !== 'spawned' && result.case !== 'status' && result.case !== 'finished') return undefined;
  return reported(result.value, instance, header?.issuedAtMs ?? 0n, receivedAt.getTime());
}

function refusalOf({ result }: Receipt): { code: string; sentence: string } | undefined {
  if (result.case !== 'refused') return undefined;
  // A code of another version is a peer's text: kept short, and only where it looks like a code.
  const { code } = result.value;
  const name = isFaultCode(code) || /^[a-z][a-z-]{0,62}$/.test(code) ? code : 'internal';
  return { code: name, sentence: faultSentence(name) };
}

function stored({ kind, receivedAt }: TakenReceipt, digest: string, record: CommandRecord): AuditEntry {
  const { id, instance, agentId } = record;
  const detail = { receipt: digest, result: kind, instance, agent: agentId };
  return { kind: 'receipt.stored', subject: id, atMs: receivedAt.getTime(), detail };
}
