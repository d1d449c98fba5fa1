import { Injectable } from '@nestjs/common';
import type { VerifiedReceipt } from '@capstan/evidence';
import { createLogger } from '@capstan/platform';
import { type Envelope, WireFault } from '@capstan/protocol';
import { AgentDirectory } from '../agents/agent.directory.js';
import { envelopeText } from '../commands/envelope-text.js';
import { RecordWriter } from '../database/record-writer.js';
import { HubIdentity } from '../identity/hub-identity.js';
import { RateLimit } from '../rate-limit.js';

/** What is kept of one instance, and of all, in a minute; the rest is asked for again later. */
const RATE = { windowMs: 60_000, perCaller: 60, forAll: 600 };

/**
 * Deaths that are proven, but whose order this hub no longer has: a kill is sent before it is on paper, so a hub that
 * breaks down while the database is away loses the order and still gets the answer. The proof goes into the audit chain,
 * whole; it can be verified offline but for the order that it answers.
 */
@Injectable()
export class UnmatchedReceipts {
  private readonly log = createLogger('hub.unmatched');
  private readonly rate = new RateLimit(RATE);

  constructor(
    private readonly identity: HubIdentity,
    private readonly agents: AgentDirectory,
    private readonly writer: RecordWriter,
  ) {}

  /** Resolves once it is on disk. @throws WireFault `receipt-mismatch` for anything but a proven death; `queue-unavailable` */
  async keep(verified: VerifiedReceipt, envelope: Envelope, digest: string): Promise<void> {
    const { receipt, issuer, kind } = verified;
    if (!isProven(verified) || receipt.commandIssuer !== this.identity.hubId)
      throw new WireFault('receipt-mismatch', 'no such command');
    const owner = receipt.agentId === '' ? issuer : await this.agents.instanceOf(receipt.agentId);
    if (owner !== undefined && owner !== issuer) throw new WireFault('receipt-mismatch', `the agent is on ${owner}`);
    const nowMs = Date.now();
    if (!this.rate.allows(issuer)) throw new WireFault('queue-unavailable', 'too many unmatched receipts');
    const detail = {
      receipt: digest,
      result: kind,
      instance: issuer,
      agent: receipt.agentId,
      command: Buffer.from(receipt.commandDigest).toString('hex'),
      envelope: envelopeText(envelope),
    };
    this.log.warn({ instance: issuer, agent: receipt.agentId, receipt: digest, msg: 'a death without its order' });
    const audit = [{ kind: 'receipt.unmatched', subject: receipt.commandId, atMs: nowMs, detail }];
    await this.writer.write({ audit }, { whenAway: 'keep' });
  }
}

/** Whether the reaper has signed at least one death in it. */
function isProven({ kind, observation, observations }: VerifiedReceipt): boolean {
  const deaths = kind === 'killed' && observation !== undefined ? [observation] : observations;
  return deaths.some(({ outcome }) => outcome !== 'unconfirmed');
}
