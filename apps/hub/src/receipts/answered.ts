import { checkKillAllScope, type ReceiptKind, type VerifiedReceipt } from '@capstan/evidence';
import { type Envelope, WireFault } from '@capstan/protocol';
import type { CommandKind } from '../commands/command-record.js';
import type { QueryKind } from '../queries/query-bodies.js';

/** What a receipt must fit: a command or a query as this hub has it. */
export interface Asked {
  readonly id: string;
  readonly kind: CommandKind | QueryKind;
  readonly instance: string;
  readonly agentId: string;
  /** Hex. */
  readonly digest: string;
  readonly envelope: Envelope;
}

const ANSWERS: Readonly<Record<Asked['kind'], readonly ReceiptKind[]>> = {
  'agent.spawn': ['refused', 'spawned', 'finished'],
  'agent.status': ['refused', 'status'],
  'agent.kill': ['refused', 'killed'],
  'agent.kill-all': ['refused', 'killed-all'],
  'agent.rearm': ['refused', 'rearmed'],
  'kill.probe': ['refused', 'probed'],
  'agent.logs': ['refused', 'logs'],
  'agent.watch': ['refused', 'logs'],
  'agent.list': ['refused', 'agents'],
  'instance.catalog': ['refused', 'catalog'],
};

/**
 * Checks that a verified receipt answers what was asked. The digest alone would do; the rest is what an honest spoke
 * cannot get wrong, compared with the hub's own record so that the command need not be decoded again.
 *
 * @param askedBy who has signed the command or query
 * @throws WireFault `receipt-mismatch`; `statement-invalid` where the reaper has stopped another scope, or raised another epoch
 */
export function checkAnswers({ kind, receipt, issuer, killAll }: VerifiedReceipt, asked: Asked, askedBy: string): void {
  const digest = Buffer.from(receipt.commandDigest).toString('hex');
  if (issuer !== asked.instance) throw new WireFault('receipt-mismatch', 'the command was for another instance');
  if (digest !== asked.digest) throw new WireFault('receipt-mismatch', 'digest');
  if (receipt.commandIssuer !== askedBy || receipt.commandId !== asked.id)
    throw new WireFault('receipt-mismatch', 'id');
  if (!ANSWERS[asked.kind].includes(kind))
    throw new WireFault('receipt-mismatch', `${kind} does not answer ${asked.kind}`);
  // A refusal may name no agent; none may name another's, or it would stand on that agent's page.
  const isNamed = kind !== 'refused' || receipt.agentId !== '';
  if (isNamed && receipt.agentId !== asked.agentId) throw new WireFault('receipt-mismatch', 'another agent');
  if (killAll !== undefined) checkKillAllScope(killAll, asked.envelope);
}
