import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { loadContext, type Mesh, type MeshContext, type ReceiptView } from '@capstan/localmesh';
import { checkReceipt, saveReceipt } from '../receipts.js';

/** The last receipt may still be on its way when the agent's state is already known. */
const LAST_RECEIPT_MS = 5000;
const EVERY_MS = 50;

/** A receipt that was checked here and kept as a file. */
export interface KeptReceipt {
  kind: string;
  /** Checked with the keys pinned on this machine; the hub's word does not count. */
  verified: boolean;
  issuer: string;
  commandId: string;
  file: string;
}

/** Checks and keeps every receipt of an agent, once one of kind `last` is there. @throws WireFault where one does not hold */
export async function collectReceipts(
  mesh: Mesh,
  agentId: string,
  directory: string,
  last: string,
): Promise<KeptReceipt[]> {
  const context = await loadContext(mesh.contextFile);
  const views = await receiptsOf(mesh, agentId, last);
  const kept: KeptReceipt[] = [];
  for (const [index, view] of views.entries()) {
    kept.push(await keep(view, context, join(directory, `${agentId}-${String(index + 1)}-${view.kind}.json`)));
  }
  return kept;
}

/** Asks the instance for the agent's state, by a signed command, and keeps its signed answer. */
export async function keepStatus(mesh: Mesh, agentId: string, directory: string): Promise<KeptReceipt> {
  const { receipt } = await mesh.client.status(agentId);
  return keep(receipt, await loadContext(mesh.contextFile), join(directory, `${agentId}-status.json`));
}

async function keep(view: ReceiptView, context: MeshContext, file: string): Promise<KeptReceipt> {
  const { kind, issuer, receipt } = await checkReceipt(view, context);
  await saveReceipt(view, file, context);
  return { kind, verified: true, issuer, commandId: receipt.commandId, file };
}

async function receiptsOf(mesh: Mesh, agentId: string, last: string): Promise<ReceiptView[]> {
  const deadline = performance.now() + LAST_RECEIPT_MS;
  for (;;) {
    const { receipts } = await mesh.client.agent(agentId);
    if (receipts.some(({ kind }) => kind === last) || performance.now() > deadline) return receipts;
    await pause(EVERY_MS);
  }
}
