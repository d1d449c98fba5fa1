import { readdir, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { isId, KillOutcome, killOutcomeName, KillScope, LocalFault, WireFault } from '@capstan/protocol';
import { askReaper } from '../ask-reaper.js';
import { ExitCode } from '../exit-codes.js';
import type { Output } from '../output/output.js';

const KILL_MS = 5_000;
const GRACE_MS = 2_000;
/** The orchestrator is told in passing: the kill does not depend on it. */
const NOTICE_MS = 500;

/** Which agents; exactly one of them is named. */
export interface LocalKillOptions {
  agent?: string | undefined;
  task?: string;
  tenant?: string;
  all?: true;
}

interface Killed {
  agentId: string;
  outcome: string;
}

/**
 * The owner's kill, straight to his reaper: it needs no hub, no spoke, no orchestrator and no Valkey. Exit code 0 only
 * where each death was observed.
 *
 * @param directory of the instance. @throws LocalFault `usage`, `reaper-unavailable`
 */
export async function killLocal(output: Output, directory: string, options: LocalKillOptions): Promise<void> {
  const { agent, task, tenant, all } = options;
  const named = [agent, task, tenant, all].filter((each) => each !== undefined);
  if (named.length !== 1) throw new LocalFault('usage', 'Name one: an agent, --task ID, --tenant ID or --all.');
  for (const id of [agent, task, tenant]) if (id !== undefined && !isId(id)) throw new WireFault('id-malformed');
  const dir = resolve(directory);
  const reaper = join(dir, 'run', 'reaper.sock');
  if (all !== undefined || tenant !== undefined) return tell(output, await killScope(reaper, tenant), [REARM]);
  const agents = agent === undefined ? await agentsOfTask(dir, task ?? '') : [agent];
  const killed = await Promise.all(agents.map((agentId) => killOne(reaper, agentId)));
  tell(output, killed, await follow(dir, killed, task));
}

const REARM = 'Nothing starts in this scope until it is re-armed: npx capstan agents rearm --local DIR';

async function killOne(reaper: string, agentId: string): Promise<Killed> {
  const question = { case: 'kill', value: { agentId, timeoutMs: KILL_MS } } as const;
  const answer = await askReaper(reaper, question, KILL_MS + GRACE_MS);
  if (answer.case !== 'observed') throw refused(answer.case);
  return { agentId, outcome: killOutcomeName(answer.value.outcome) };
}

/** Everything of a tenant, or of the instance. Somebody else may raise the epoch at the same moment: then once more. */
async function killScope(reaper: string, tenant: string | undefined): Promise<Killed[]> {
  const scope = tenant === undefined ? KillScope.INSTANCE : KillScope.TENANT;
  const scopeId = tenant ?? '';
  for (let attempt = 0; attempt < 3; attempt += 1) {
    const described = await askReaper(reaper, { case: 'describe', value: {} });
    if (described.case !== 'description') throw refused(described.case);
    const raised = described.value.killEpochs.find((it) => it.scope === scopeName(scope) && it.scopeId === scopeId);
    const value = { scope, scopeId, epoch: (raised?.epoch ?? 0n) + 1n, timeoutMs: KILL_MS };
    const answer = await askReaper(reaper, { case: 'killAll', value }, KILL_MS + GRACE_MS);
    if (answer.case === 'forbidden') continue;
    if (answer.case !== 'allObserved') throw refused(answer.case);
    // One answer has no room for many observations: whoever is unconfirmed in it is asked for alone.
    return Promise.all(
      answer.value.agents.map(async ({ agentId, result }) =>
        result === undefined || result.outcome === KillOutcome.UNCONFIRMED
          ? killOne(reaper, agentId)
          : { agentId, outcome: killOutcomeName(result.outcome) },
      ),
    );
  }
  throw refused('forbidden');
}

function scopeName(scope: KillScope): string {
  return scope === KillScope.TENANT ? 'tenant' : 'instance';
}

/** The agents that have something on disk for this task: no process need be asked for them. */
async function agentsOfTask(dir: string, task: string): Promise<string[]> {
  const names = await readdir(join(dir, 'agents')).catch(() => []);
  const found = await Promise.all(names.map((name) => taskOf(join(dir, 'agents', name, 'session.json'))));
  return found.flatMap(([agentId, taskId]) => (taskId === task && isId(agentId) ? [agentId] : []));
}

async function taskOf(file: string): Promise<[agentId: string, taskId: string]> {
  try {
    const { agentId, worktree } = JSON.parse(await readFile(file, 'utf8')) as {
      agentId?: unknown;
      worktree?: { taskId?: unknown };
    };
    return [String(agentId), String(worktree?.taskId)];
  } catch {
    return ['', ''];
  }
}

/** Tells the orchestrator, if it answers: states then follow at once, and of a task those that wait are killed too. */
async function follow(dir: string, killed: Killed[], task: string | undefined): Promise<string[]> {
  const { OrchestratorDoor } = await import('@capstan/localmesh');
  const door = new OrchestratorDoor(dir, NOTICE_MS);
  try {
    if (task === undefined) await Promise.all(killed.map(({ agentId }) => door.noticeKill(agentId)));
    else {
      const known = new Set(killed.map(({ agentId }) => agentId));
      killed.push(...(await door.killTask(task)).filter(({ agentId }) => !known.has(agentId)));
    }
    return [];
  } catch {
    return task === undefined
      ? []
      : ['The orchestrator does not answer: agents of this task that were still waiting were not reached.'];
  }
}

function tell(output: Output, agents: Killed[], notes: readonly string[]): void {
  const unconfirmed = agents.filter(({ outcome }) => outcome === 'unconfirmed');
  if (unconfirmed.length > 0) output.exitCode = ExitCode.timeout;
  output.result('kill-local', { confirmed: unconfirmed.length === 0, agents }, [
    ...agents.map(({ agentId, outcome }) => `${agentId}: ${outcome}`),
    `${String(agents.length - unconfirmed.length)} of ${String(agents.length)} observed dead by the reaper of this machine.`,
    ...notes,
  ]);
}

function refused(answer: string): LocalFault {
  return new LocalFault('reaper-malformed', 'The reaper has refused the order.', answer);
}
