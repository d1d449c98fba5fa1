import { ExitCode } from '../exit-codes.js';
import { openContext } from '../open-context.js';
import type { Output } from '../output/output.js';
import { checkReceipt, describe, saveReceipt } from '../receipts.js';

const WAIT_MS = 10_000;

/** Kills an agent through the hub. Exit code 0 only where its death was observed and the receipt holds. */
export async function kill(
  output: Output,
  id: string,
  options: { context?: string; reason?: string; instance?: string; save?: string },
): Promise<void> {
  const { context, client } = await openContext(options);
  const answer = await client.kill(id, {
    waitMs: WAIT_MS,
    ...(options.reason === undefined ? {} : { reason: options.reason }),
    ...(options.instance === undefined ? {} : { instance: options.instance }),
  });
  const { receipt } = answer;
  const verified = receipt === undefined ? undefined : await checkReceipt(receipt, context);
  if (receipt !== undefined && options.save !== undefined) await saveReceipt(receipt, options.save);
  const confirmed = answer.confirmed && verified?.observation !== undefined;
  if (!confirmed) output.exitCode = ExitCode.timeout;
  output.result(
    'kill',
    {
      agentId: id,
      commandId: answer.commandId,
      outcome: answer.outcome,
      confirmed,
      observed: verified?.observation ?? null,
      savedTo: options.save ?? null,
    },
    confirmed
      ? [
          `${answer.outcome}: observed, signed and checked.`,
          ...(verified === undefined ? [] : describe(verified)).map((line) => `  ${line}`),
        ]
      : [`unconfirmed: nobody has seen agent ${id} dead yet; the order stands and is being retried.`],
  );
}
