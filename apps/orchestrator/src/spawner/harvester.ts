import type { Logger } from '@capstan/platform';
import { stripControl, type AgentView } from '@capstan/protocol';
import type { SandboxDriver } from '@capstan/sandbox';
import type { Gates, GateSubject, GateVerdict } from '../coordinator/gates.js';
import { commitHarvest, harvest, push } from '../git/index.js';
import type { AgentRun } from './agent-run.js';
import type { Launched } from './launcher.js';
import type { SpawnPlan } from './spawn-plan.js';

export type HarvestView = NonNullable<AgentView['harvest']>;

/** A gate did not let the work pass. */
export class GateRefusal extends Error {
  constructor(
    readonly code: string,
    readonly sentence: string,
  ) {
    super(sentence);
  }
}

/** The agent was killed while its work was taken in: nothing more of it goes out. */
export class HarvestStopped extends Error {}

const TITLE_LENGTH = 72;
const AUTHOR = { name: 'Capstan agent', email: 'agent@capstan.invalid' };

/** Makes a commit on the task's branch out of what an agent left, and pushes it; the gates stand in between. */
export class Harvester {
  constructor(
    private readonly driver: SandboxDriver,
    private readonly gates: Gates,
    private readonly logger: Logger,
  ) {}

  /**
   * @param summary what the agent says it did.
   * @throws {WireFault} `agent-no-change`, `harvest-refused`, `push-rejected`; GateRefusal; HarvestStopped
   */
  async take(run: AgentRun, plan: SpawnPlan, launched: Launched, summary: string): Promise<HarvestView> {
    const { repository, worktree, session } = launched;
    const { uid, gid } = session;
    const { tree, files } = await harvest({ repository, worktree, driver: this.driver, uid, gid });
    const baseCommit = worktree.commit;
    const { agentId, taskId } = plan;
    const subject: GateSubject = { agentId, taskId, repository: repository.dir, baseCommit, tree, files };
    demand(await this.gates.beforeCommit(subject));
    goOn(run);
    const branch = `capstan/${taskId}`;
    const commit = await commitHarvest({
      repository,
      tree,
      base: baseCommit,
      branch,
      message: messageOf(plan, summary),
      author: AUTHOR,
      trailers: { 'Capstan-Agent': agentId, 'Capstan-Task': taskId },
    });
    demand(await this.gates.beforePush({ ...subject, commit }));
    goOn(run);
    await push({ repository, branch, commit });
    this.logger.info({ agentId, branch, commit, files: files.length, msg: 'the work was pushed' });
    return { branch, baseCommit, commit, tree, files: [...files], pushed: true };
  }
}

function demand(verdict: GateVerdict): void {
  if (!verdict.passed) throw new GateRefusal(verdict.code, verdict.sentence);
}

function goOn(run: AgentRun): void {
  if (run.intent?.kind === 'killed') throw new HarvestStopped();
}

/** First line: what the agent says, cut to the width that git's own tools show. */
function messageOf(plan: SpawnPlan, summary: string): string {
  const text = stripControl(summary).trim() || `Work on task ${plan.taskId}`;
  const [first = ''] = text.split('\n');
  if (first.length <= TITLE_LENGTH) return text;
  const title = `${first.slice(0, TITLE_LENGTH - 1).trimEnd()}…`;
  return `${title}\n\n${text}`;
}
