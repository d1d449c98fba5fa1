import { ExitCode } from '../exit-codes.js';
import type { KillAnswer, ReceiptView } from '@capstan/localmesh';
import { type OpenContext, openContext } from '../open-context.js';
import { operatorKeyOf, type SignOptions } from '../operators/operator-key.js';
import { signedKill } from '../operators/send-signed.js';
import type { Output } from '../output/output.js';
import { leaseText, refusedText } from '../output/unconfirmed.js';
import { checkReceipt, describe, saveReceipt } from '../receipts.js';

const WAIT_MS = 10_000;

export interface KillOptions extends SignOptions {
  context?: string;
  reason?: string;
  instance?: string;
  save?: string;
}

/** Kills an agent through the hub. Exit code 0 only where its death was observed and the receipt holds. */
export async function kill(output: Output, id: string, options: KillOptions): Promise<void> {
  const opened = await openContext(options);
  const { context } = opened;
  const answer = await order(opened, id, options);
  const { receipt } = answer;
  const verified = receipt === undefined ? undefined : await checkReceipt(receipt, context);
  if (receipt !== undefined && options.save !== undefined) await saveReceipt(receipt, options.save, context);
  const outcome = verified?.observation?.outcome ?? 'unconfirmed';
  const confirmed = outcome !== 'unconfirmed';
  if (!confirmed) output.exitCode = ExitCode.timeout;
  output.result(
    'kill',
    {
      agentId: id,
      commandId: answer.commandId,
      outcome,
      confirmed,
      observed: verified?.observation ?? null,
      refusal: confirmed ? null : (answer.refusal ?? null),
      leaseEndsAt: confirmed ? null : (answer.leaseEndsAt ?? null),
      savedTo: options.save ?? null,
    },
    confirmed
      ? [
          `${outcome}: observed, signed and checked.`,
          ...(verified === undefined ? [] : describe(verified)).map((line) => `  ${line}`),
        ]
      : unconfirmedLines(id, answer),
  );
}

function unconfirmedLines(id: string, { refusal, leaseEndsAt }: Answer): string[] {
  return [
    `unconfirmed: nobody has seen agent ${id} dead yet; the order stands and is being retried.`,
    ...(refusal === undefined ? [] : [`  ${refusedText(refusal.code)}`]),
    // Only the hub's own answer tells it; an operator's order has no such field.
    ...(leaseEndsAt === undefined ? [] : [`  ${leaseText(leaseEndsAt, 'it')}`]),
  ];
}

interface Answer extends Pick<KillAnswer, 'commandId' | 'refusal' | 'leaseEndsAt'> {
  receipt?: ReceiptView | undefined;
}

/** Ordered by the hub, or by the operator where one signs. */
async function order(opened: OpenContext, id: string, { reason, instance, ...options }: KillOptions): Promise<Answer> {
  const signer = await operatorKeyOf(options, opened.context);
  if (signer !== undefined) return signedKill(opened, signer, id, { on: instance, reason });
  return opened.client.kill(id, {
    waitMs: WAIT_MS,
    ...(reason === undefined ? {} : { reason }),
    ...(instance === undefined ? {} : { instance }),
  });
}
