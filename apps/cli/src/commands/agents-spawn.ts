import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type CommandAccepted, type HubClient, HubProblem, type SpawnBody } from '@capstan/localmesh';
import { LocalFault, spawnBody as bodyOfSpawn } from '@capstan/protocol';
import { ExitCode } from '../exit-codes.js';
import { readGrantFile } from '../grants/grant-file.js';
import { type OpenContext, openContext } from '../open-context.js';
import { type OperatorKey, operatorKeyOf } from '../operators/operator-key.js';
import { sendSigned } from '../operators/send-signed.js';
import { agentLines } from '../output/agent-lines.js';
import type { Output } from '../output/output.js';
import { sealEnvironment } from '../secrets/seal-environment.js';
import { checkAccepted, waitForEnd } from '../wait-for-agent.js';

/** An instance that is there answers within this time; for one that is away the order waits at the hub. */
const FIRST_WORD_MS = 3000;
/** Until when the instance may take a spawn that is signed here. */
const SIGNED_LIFETIME_MS = 300_000;

export interface SpawnOptions {
  context?: string;
  repo: string;
  item: string[];
  branch?: string;
  task?: string;
  type: 'worker' | 'reviewer' | 'tester';
  runtime: string;
  sandbox?: 'bubblewrap' | 'docker';
  tenant: string;
  model?: string;
  playbook?: string;
  budget?: number;
  timeout?: number;
  priority?: number;
  /** Milliseconds. */
  killAfter?: number;
  keep?: true;
  wait?: true;
  /** Operator's key file; true for the context's. */
  sign?: string | true;
  /** Operator's id. */
  as?: string;
  /** Chain of grants under which a signed spawn is given. */
  grant?: string;
  /** Names of environment variables that are sealed into a signed spawn. */
  secret?: string[];
}

/**
 * Orders an agent; with --wait stays until it has ended, and fails where the agent did.
 * @throws HubProblem where the hub or the instance refuses
 */
export async function spawn(output: Output, instance: string, options: SpawnOptions): Promise<void> {
  const opened = await openContext(options);
  const { context, client } = opened;
  try {
    const signer = await operatorKeyOf(options, context);
    if (signer === undefined && (options.grant !== undefined || options.secret !== undefined))
      throw new LocalFault('usage', '--grant and --secret need --sign.');
    const body = spawnBody(instance, options);
    const accepted = await (signer === undefined ? client.spawn(body) : signedSpawn(opened, signer, body, options));
    if (options.wait === undefined) await tellOrdered(output, client, accepted);
    else await tellEnd(output, client, accepted);
  } catch (error) {
    const directory = context.instances[instance];
    if (directory !== undefined && error instanceof HubProblem && error.code.startsWith('policy-'))
      output.note(`What the owner of ${instance} allows stands in ${join(directory, 'policy.yaml')}.`);
    throw error;
  }
}

async function tellOrdered(output: Output, client: HubClient, accepted: CommandAccepted): Promise<void> {
  const { agentId, instance } = accepted;
  await checkAccepted(client, accepted, FIRST_WORD_MS);
  const connections = await client.connections();
  const isAway = connections.some((connection) => connection.instanceId === instance && !connection.online);
  output.result('spawn', { ...accepted }, [
    isAway
      ? `agent ${agentId} is ordered; ${instance} is away and gets the order when it is back, unless that expires`
      : `agent ${agentId} is ordered on ${instance}; follow it with "npx capstan agents status ${agentId}"`,
  ]);
}

async function tellEnd(output: Output, client: HubClient, accepted: CommandAccepted): Promise<void> {
  const agent = await waitForEnd(client, accepted, (state) => {
    output.note(`agent ${accepted.agentId}: ${state}`);
  });
  if (agent.state !== 'completed') output.exitCode = ExitCode.error;
  output.result('spawn', { ...accepted, agent }, agentLines(agent));
}

async function signedSpawn(
  opened: OpenContext,
  signer: OperatorKey,
  request: SpawnBody,
  options: SpawnOptions,
): Promise<CommandAccepted> {
  const { instance, tenant = 'default' } = request;
  const body = bodyOfSpawn(request);
  body.value.secrets = await sealEnvironment(opened, {
    instance,
    agentId: body.value.agentId,
    names: options.secret ?? [],
    issuer: signer.id,
    sender: signer.key,
    lifetimeMs: SIGNED_LIFETIME_MS,
  });
  const grants = options.grant === undefined ? [] : await readGrantFile(options.grant);
  return sendSigned(opened, signer, { instance, tenant, body, lifetimeMs: SIGNED_LIFETIME_MS, grants });
}

/** The request that the options ask for. */
export function spawnBody(instance: string, options: SpawnOptions): SpawnBody {
  const { branch, task, sandbox, model, playbook, budget, timeout, priority } = options;
  const limits = {
    ...(sandbox === undefined ? {} : { sandbox }),
    ...(model === undefined ? {} : { model }),
    ...(playbook === undefined ? {} : { playbook }),
    ...(budget === undefined ? {} : { budgetMicroUsd: Math.round(budget * 1_000_000) }),
    ...(timeout === undefined ? {} : { timeoutMs: Math.round(timeout * 1000) }),
    ...(priority === undefined ? {} : { priority }),
  };
  return {
    instance,
    agentType: options.type,
    runtime: options.runtime,
    tenant: options.tenant,
    // A path means this directory's, not the instance's.
    context: {
      repository: existsSync(options.repo) ? resolve(options.repo) : options.repo,
      workItems: options.item,
      ...(branch === undefined ? {} : { branch }),
    },
    ...(task === undefined ? {} : { taskId: task }),
    ...(Object.keys(limits).length === 0 ? {} : { options: limits }),
    ...(options.killAfter === undefined ? {} : { onHubLost: { killAfterMs: options.killAfter } }),
    ...(options.keep === undefined ? {} : { onHubLost: { keep: true } }),
  };
}
