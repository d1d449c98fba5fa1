import { OwnerClient, type PeerReceiptView } from '@capstan/localmesh';
import { LocalFault } from '@capstan/protocol';
import { ExitCode } from '../exit-codes.js';
import { openContext } from '../open-context.js';
import { agentLines } from '../output/agent-lines.js';
import type { Output } from '../output/output.js';
import { saveReceipt } from '../receipts.js';
import { spawnBody, type SpawnOptions } from './agents-spawn.js';

interface ViaOptions {
  context?: string;
  /** The instance on this machine that signs. */
  via: string;
  /** The instance that is ordered. */
  on?: string;
  save?: string;
}

/** Orders an agent on another instance, signed by one on this machine. @throws HubProblem where hub or instance refuse */
export async function spawnVia(output: Output, target: string, options: SpawnOptions & { via: string }): Promise<void> {
  const owner = await ownerOf(options);
  const { instance: _, ...body } = spawnBody(target, options);
  const answer = await owner.spawn({ ...body, target });
  const { agentId, agent } = answer;
  output.result('spawn', { ...answer, via: options.via }, [
    agent === null
      ? `agent ${agentId} is ordered by ${options.via}; ${target} has not answered yet`
      : `agent ${agentId} is ${agent.state} on ${target}, which has signed that to ${options.via}`,
  ]);
}

/** Asks another instance for an agent's state. */
export async function statusVia(output: Output, id: string, options: ViaOptions): Promise<void> {
  const target = targetOf(options);
  const { agent, receipt } = await (await ownerOf(options)).status(id, target);
  await keep(receipt, options);
  output.result('agent', { agent: { ...agent, instance: target }, receipt: kept(receipt, options) }, [
    ...agentLines({ ...agent, instance: target, asOf: new Date().toISOString(), leaseEndsAt: null }),
    `The answer is signed by ${target}, and was checked by ${options.via} with the key that it has pinned.`,
  ]);
}

/** Kills an agent on another instance. Exit code 0 only where its death was observed. */
export async function killVia(output: Output, id: string, options: ViaOptions & { reason?: string }): Promise<void> {
  const target = targetOf(options);
  const reason = options.reason === undefined ? {} : { reason: options.reason };
  const { outcome, confirmed, receipt } = await (await ownerOf(options)).kill(id, { target, ...reason });
  if (receipt !== null) await keep(receipt, options);
  if (!confirmed) output.exitCode = ExitCode.timeout;
  output.result('kill', { agentId: id, via: options.via, outcome, confirmed, savedTo: options.save ?? null }, [
    confirmed
      ? `${outcome}: observed by the reaper of ${target}, signed, and checked by ${options.via}.`
      : `unconfirmed: nobody has seen agent ${id} dead yet; ${options.via} repeats the order.`,
  ]);
}

async function ownerOf(options: { context?: string; via: string }): Promise<OwnerClient> {
  const { context } = await openContext(options);
  const directory = context.instances[options.via];
  if (directory === undefined) {
    throw new LocalFault(
      'not-found',
      `There is no instance ${options.via} on this machine, of which this context knows.`,
    );
  }
  return new OwnerClient(directory);
}

function targetOf({ on }: ViaOptions): string {
  if (on === undefined) throw new LocalFault('usage', 'Say with --on which instance the agent is on.');
  return on;
}

async function keep(receipt: PeerReceiptView, { save, ...options }: ViaOptions): Promise<void> {
  if (save === undefined) return;
  const { context } = await openContext(options);
  await saveReceipt({ ...receipt, receivedAt: '', result: null }, save, context);
}

function kept(
  { kind }: PeerReceiptView,
  { save }: ViaOptions,
): { kind: string; verified: true; savedTo: string | null } {
  return { kind, verified: true, savedTo: save ?? null };
}
