import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import type { SpawnBody } from '@capstan/localmesh';
import { ExitCode } from '../exit-codes.js';
import { openContext } from '../open-context.js';
import { agentLines } from '../output/agent-lines.js';
import type { Output } from '../output/output.js';
import { waitForEnd } from '../wait-for-agent.js';

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

/** Orders an agent; with --wait stays until it has ended, and fails where the agent did. */
export async function spawn(output: Output, instance: string, options: SpawnOptions): Promise<void> {
  const { client } = await openContext(options);
  const accepted = await client.spawn(spawnBody(instance, options));
  if (options.wait === undefined) {
    output.result('spawn', { ...accepted }, [
      `agent ${accepted.agentId} is ordered on ${instance}; follow it with "npx capstan agents status ${accepted.agentId}"`,
    ]);
    return;
  }
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
