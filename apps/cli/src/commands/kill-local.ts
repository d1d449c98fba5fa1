import { readdir, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { OrchestratorDoor } from '@capstan/localmesh';
import { isId, isTerminal, KillOutcome, killOutcomeName, KillScope, LocalFault, WireFault } from '@capstan/protocol';
import { askReaper } from '../ask-reaper.js';
import { ExitCode } from '../exit-codes.js';
import type { Output } from '../output/output.js';

const KILL_MS = 5_000;
const GRACE_MS = 2_000;
/** The orchestrator is told in passing: a death that was observed does not depend on it. */
const NOTICE_MS = 500;
/** Where its word counts: it kills the rest of a task, or knows an agent that was not seen. Its own patience is 6.5 s. */
const WORD_MS = 10_000;

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

/** What the orchestrator has added; the deaths are the reaper's. */
interface Followed {
  notes: string[];
  /** Those that are tombstoned, and the orchestrator knows that they do not run. */
  withdrawn: ReadonlySet<string>;
  /** Whether those that wait were reached. */
  complete: boolean;
}

/**
 * The owner's kill, straight to his reaper: it needs no hub, no spoke, no orchestrator and no Valkey. Exit code 0 only
 * where each death was observed, or the orchestrator says that the agent was not running; of a task, only where it has reached
 * those that wait.
 *
 * @param directory of the instance. @throws LocalFault `usage`, `reaper-unavailable`; `not-found` of a task without agents
 */
export async function killLocal(output: Output, directory: string, options: LocalKillOptions): Promise<void> {
  const { agent, task, tenant, all } = options;
  const named = [agent, task, tenant, all].filter((each) => each !== undefined);
  if (named.length !== 1) throw new LocalFault('usage', 'Name one: an agent, --task ID, --tenant ID or --all.');
  for (const id of [agent, task, tenant]) if (id !== undefined && !isId(id)) throw new WireFault('id-malformed');
  const dir = resolve(directory);
  const reaper = join(dir, 'run', 'reaper.sock');
  if (all !== undefined || tenant !== undefined) {
    const killed = await killScope(reaper, tenant);
    return tell(output, killed, await followScope(dir));
  }
  if (agent !== undefined) {
    const killed = await killOne(reaper, agent);
    return tell(output, [killed], await followAgent(dir, killed));
  }
  const agents = await agentsOfTask(dir, task ?? '');
  const killed = await Promise.all(agents.map((agentId) => killOne(reaper, agentId)));
  const followed = await followTask(dir, killed, task ?? '');
  if (killed.length === 0 && followed.complete) throw new LocalFault('not-found', 'No agent of this task lives here.');
  tell(output, killed, followed);
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

async function doorOf(dir: string, answerMs: number): Promise<OrchestratorDoor> {
  const { OrchestratorDoor: Door } = await import('@capstan/localmesh');
  return new Door(dir, answerMs);
}

/** Its state follows at once. One that the reaper has not seen may wait in the queue, or be no agent at all. */
async function followAgent(dir: string, { agentId, outcome }: Killed): Promise<Followed> {
  const isUnseen = outcome === 'tombstoned';
  const door = await doorOf(dir, isUnseen ? WORD_MS : NOTICE_MS);
  const agent = await door.noticeKill(agentId).catch(() => null);
  return {
    notes: [],
    withdrawn: new Set(isUnseen && agent !== null && isTerminal(agent.state) ? [agentId] : []),
    complete: true,
  };
}

/** Work that is being taken in has no process any more: only the orchestrator can keep it from being pushed. */
async function followScope(dir: string): Promise<Followed> {
  const door = await doorOf(dir, NOTICE_MS);
  const isTold = await door.noticeKillAll().then(
    () => true,
    () => false,
  );
  const untold = 'The orchestrator does not answer: work that it was taking in already may still be pushed.';
  return { notes: isTold ? [REARM] : [untold, REARM], withdrawn: new Set(), complete: true };
}

/** Those that wait are in no reaper's register and on no disk of his. @param killed gets what the orchestrator has killed. */
async function followTask(dir: string, killed: Killed[], task: string): Promise<Followed> {
  const known = new Set(killed.map(({ agentId }) => agentId));
  const door = await doorOf(dir, WORD_MS);
  const { complete, agents } = await door.killTask(task).catch(() => ({ complete: false, agents: [] }));
  const others = agents.filter(({ agentId }) => !known.has(agentId));
  killed.push(...others.map(({ agentId, outcome }) => ({ agentId, outcome })));
  const missed =
    'The orchestrator does not say who waits: agents of this task that were still waiting may start. Repeat it.';
  return { notes: complete ? [] : [missed], withdrawn: new Set(others.map(({ agentId }) => agentId)), complete };
}

/** `confirmed` is said where nothing is left in doubt: neither a death nor who was meant. */
function tell(output: Output, agents: Killed[], { notes, withdrawn, complete }: Followed): void {
  const isDead = ({ outcome }: Killed): boolean => outcome === 'killed' || outcome === 'already-gone';
  const isWithdrawn = ({ agentId, outcome }: Killed): boolean => outcome === 'tombstoned' && withdrawn.has(agentId);
  const isSure = agents.every((each) => isDead(each) || isWithdrawn(each));
  const dead = agents.filter(isDead).length;
  if (!complete) output.exitCode = ExitCode.unreachable;
  if (!isSure) output.exitCode = ExitCode.timeout;
  output.result('kill-local', { confirmed: isSure && complete, observedDead: dead, complete, agents, notes }, [
    ...agents.map((each) => `${each.agentId}: ${sentenceOf(each, isWithdrawn(each))}`),
    `${String(dead)} of ${String(agents.length)} observed dead by the reaper of this machine.`,
    ...notes,
  ]);
}

function sentenceOf({ outcome }: Killed, isWithdrawn: boolean): string {
  if (outcome !== 'tombstoned') return outcome;
  return isWithdrawn
    ? 'tombstoned: it does not run, and never starts'
    : 'tombstoned: was not seen yet, and never starts';
}

function refused(answer: string): LocalFault {
  return new LocalFault('reaper-malformed', 'The reaper has refused the order.', answer);
}
