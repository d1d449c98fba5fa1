import type { RoutedBody } from '@capstan/identity';
import { type CommandAccepted, HubProblem, type ReceiptView } from '@capstan/localmesh';
import { agentId, AgentStatusSchema, create, KillAgentSchema, LocalFault } from '@capstan/protocol';
import type { OpenContext } from '../open-context.js';
import { checkReceipt } from '../receipts.js';
import type { OperatorKey } from './operator-key.js';
import { type CommandToSign, signCommand } from './sign-command.js';

const WAIT_MS = 10_000;

export interface SignedOrder {
  /** Where the agent is; asked of the hub where it is not told. */
  on?: string | undefined;
  tenant?: string | undefined;
}

/** Signs a command here and has the hub route it. @throws HubProblem */
export function sendSigned(
  { client }: OpenContext,
  signer: OperatorKey,
  command: CommandToSign,
): Promise<CommandAccepted> {
  return client.route(signCommand(signer, command).envelope);
}

/** Asks an agent's instance, signed by the operator. @throws HubProblem where hub or instance refuse; LocalFault `instance-away` */
export async function signedStatus(
  opened: OpenContext,
  signer: OperatorKey,
  id: string,
  order: SignedOrder,
): Promise<{ instance: string; receipt: ReceiptView }> {
  const body: RoutedBody = { case: 'status', value: create(AgentStatusSchema, { agentId: agentId(id) }) };
  const { commandId, instance } = await send(opened, signer, id, order, body);
  const receipt = await answer(opened, commandId, () => true);
  if (receipt === undefined) throw new LocalFault('instance-away', `${instance} did not answer.`);
  return { instance, receipt };
}

/** Kills an agent, signed by the operator. The receipt is the one that proves the death, else the latest, if there is one. */
export async function signedKill(
  opened: OpenContext,
  signer: OperatorKey,
  id: string,
  order: SignedOrder & { reason?: string | undefined },
): Promise<{ commandId: string; receipt: ReceiptView | undefined }> {
  const value = create(KillAgentSchema, { agentId: agentId(id), reason: order.reason ?? '' });
  const { commandId } = await send(opened, signer, id, order, { case: 'kill', value });
  const isProven = async (receipt: ReceiptView): Promise<boolean> =>
    (await checkReceipt(receipt, opened.context)).observation !== undefined;
  return { commandId, receipt: await answer(opened, commandId, isProven) };
}

async function send(
  opened: OpenContext,
  signer: OperatorKey,
  id: string,
  { on, tenant = 'default' }: SignedOrder,
  body: RoutedBody,
): Promise<CommandAccepted> {
  const instance = on ?? (await opened.client.agent(id)).instance;
  return sendSigned(opened, signer, { instance, tenant, body, lifetimeMs: WAIT_MS });
}

async function answer(
  { client }: OpenContext,
  commandId: string,
  isEnough: (receipt: ReceiptView) => boolean | Promise<boolean>,
): Promise<ReceiptView | undefined> {
  const deadline = performance.now() + WAIT_MS;
  for (;;) {
    const leftMs = Math.max(0, Math.floor(deadline - performance.now()));
    const { receipts, refusal, settledAt } = await client.command(commandId, leftMs);
    if (refusal !== undefined && refusal !== null) throw new HubProblem(422, refusal.code, refusal.sentence);
    const latest = receipts.at(-1);
    if (latest !== undefined && (settledAt !== null || (await isEnough(latest)))) return latest;
    if (leftMs === 0) return latest;
  }
}
