import { agentView, LocalFault } from '@capstan/protocol';
import { type OpenContext, openContext } from '../open-context.js';
import { type OperatorKey, operatorKeyOf, type SignOptions } from '../operators/operator-key.js';
import { signedStatus } from '../operators/send-signed.js';
import { agentLines } from '../output/agent-lines.js';
import type { Output } from '../output/output.js';
import { checkReceipt, saveReceipt } from '../receipts.js';

/** Asks the agent's instance through the hub, and checks the signed answer with the context's pinned keys. */
export async function agentStatus(
  output: Output,
  id: string,
  options: { context?: string; save?: string; on?: string } & SignOptions,
): Promise<void> {
  const opened = await openContext(options);
  const { context, client } = opened;
  const signer = await operatorKeyOf(options, context);
  if (signer !== undefined) return signed(output, opened, signer, id, options);
  const { agent: asked, receipt } = await client.status(id);
  const { issuer } = await checkReceipt(receipt, context);
  const agent = { ...asked, instance: issuer };
  if (options.save !== undefined) await saveReceipt(receipt, options.save, context);
  output.result('agent', { agent, receipt: { kind: receipt.kind, verified: true, savedTo: options.save ?? null } }, [
    ...agentLines(agent),
    'The answer is signed by the instance, and was checked here with its pinned key.',
  ]);
}

async function signed(
  output: Output,
  opened: OpenContext,
  signer: OperatorKey,
  id: string,
  options: { save?: string; on?: string },
): Promise<void> {
  const { receipt } = await signedStatus(opened, signer, id, options);
  const { issuer: instance, receipt: told } = await checkReceipt(receipt, opened.context);
  if (told.result.case !== 'status') throw new LocalFault('receipt-mismatch', 'The answer is no status.');
  const asOf = new Date(Number(told.header?.issuedAtMs ?? 0n)).toISOString();
  const agent = { ...agentView(told.result.value), instance, asOf, leaseEndsAt: null };
  if (options.save !== undefined) await saveReceipt(receipt, options.save, opened.context);
  output.result('agent', { agent, receipt: { kind: receipt.kind, verified: true, savedTo: options.save ?? null } }, [
    ...agentLines(agent),
    `Asked by ${signer.id}; the answer is signed by the instance, and was checked here with its pinned key.`,
  ]);
}
