import { openContext } from '../open-context.js';
import { agentLines } from '../output/agent-lines.js';
import type { Output } from '../output/output.js';
import { checkReceipt, saveReceipt } from '../receipts.js';

/** Asks the agent's instance through the hub, and checks the signed answer with the context's pinned keys. */
export async function agentStatus(
  output: Output,
  id: string,
  options: { context?: string; save?: string },
): Promise<void> {
  const { context, client } = await openContext(options);
  const { agent: asked, receipt } = await client.status(id);
  const { issuer } = await checkReceipt(receipt, context);
  const agent = { ...asked, instance: issuer };
  if (options.save !== undefined) await saveReceipt(receipt, options.save);
  output.result('agent', { agent, receipt: { kind: receipt.kind, verified: true, savedTo: options.save ?? null } }, [
    ...agentLines(agent),
    'The answer is signed by the instance, and was checked here with its pinned key.',
  ]);
}
