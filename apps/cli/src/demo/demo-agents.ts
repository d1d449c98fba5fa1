import { randomBytes } from 'node:crypto';
import type { MeshModel, Remote, SpawnBody } from '@capstan/localmesh';
import { BUDGET_MICRO_USD, modelName } from './choose-model.js';

/** An order of the demo. */
export interface DemoAgent {
  body: SpawnBody;
  /** What a person would type after `capstan` to order the same. */
  command: string;
}

const MAP_ITEM =
  'Write docs/REPOSITORY-MAP.md: what is here, by directory and kind of file, counted with git. Then submit.';
const ENDLESS_ITEM = 'Run "sleep 3600" with bash, wait for its end, then submit.';

/** Measures the repository and writes docs/REPOSITORY-MAP.md. */
export function mapAgent(instance: string, repository: Remote, model: MeshModel): DemoAgent {
  return order(instance, repository, model, {
    task: `repository-map-${suffix()}`,
    item: MAP_ITEM,
    playbook: 'repository-map',
  });
}

/** Would work for an hour; it is there to be killed. */
export function endlessAgent(instance: string, repository: Remote, model: MeshModel): DemoAgent {
  return order(instance, repository, model, {
    task: `long-run-${suffix()}`,
    item: ENDLESS_ITEM,
    playbook: 'long-run',
  });
}

function order(
  instance: string,
  repository: Remote,
  model: MeshModel,
  work: { task: string; item: string; playbook: string },
): DemoAgent {
  const isScripted = model.provider === 'scripted';
  const options = isScripted ? { playbook: work.playbook } : { model: modelName() };
  const flag = isScripted ? `--playbook ${work.playbook}` : `--model ${modelName()}`;
  return {
    body: {
      instance,
      agentType: 'worker',
      taskId: work.task,
      context: { repository: repository.path, branch: repository.branch, workItems: [work.item] },
      options: { ...options, budgetMicroUsd: BUDGET_MICRO_USD },
      // Nobody is there to look after it once the mesh's hub is gone.
      onHubLost: { killAfterMs: 60_000 },
    },
    command: `agents spawn ${instance} --repo ${repository.path} ${flag} --item '${work.item}'`,
  };
}

function suffix(): string {
  return randomBytes(3).toString('hex');
}
