import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type CommandAccepted, type HubClient, HubProblem, type SpawnBody } from '@capstan/localmesh';
import { ExitCode } from '../exit-codes.js';
import { openContext } from '../open-context.js';
import { agentLines } from '../output/agent-lines.js';
import type { Output } from '../output/output.js';
import { checkAccepted, waitForEnd } from '../wait-for-agent.js';

/** An instance that is there answers within this time; for one that is away the order waits at the hub. */
const FIRST_WORD_MS = 3000;

export interface SpawnOptions {
  context?: string;
  repo: string;
  item: string[];
  branch?: string;
  task?: string;
  type: 'worker' | 'reviewer' | 'tester';
  runtime: string;
  tenant: string;
  model?: string;
  playbook?: string;
  budget?: number;
  timeout?: number;
  priority?: number;
  wait?: true;
}

/**
 * Orders an agent; with --wait stays until it has ended, and fails where the agent did.
 * @throws HubProblem where the hub or the instance refuses
 */
export async function spawn(output: Output, instance: string, options: SpawnOptions): Promise<void> {
  const { context, client } = await openContext(options);
  try {
    const accepted = await client.spawn(spawnBody(instance, options));
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

function spawnBody(instance: string, options: SpawnOptions): SpawnBody {
  const { branch, task, model, playbook, budget, timeout, priority } = options;
  const limits = {
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
  };
}
