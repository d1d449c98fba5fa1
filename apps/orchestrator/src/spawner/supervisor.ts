import type { AgentId } from '@capstan/protocol';
import type { RunningSandbox } from '@capstan/sandbox';
import type { Reaping } from '../killswitch/reaping.js';
import type { AgentLog } from '../monitor/agent-log.js';
import { parseOutput, type AgentOutput } from '../monitor/agent-output.js';
import { boundedLines } from '../monitor/bounded-lines.js';
import { endOfAgent, type AgentEnd } from './agent-end.js';
import type { AgentRun } from './agent-run.js';

/** Longest delay that a timer of Node holds; about 24 days. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

const MOST_COMPACTIONS_TOLD = 100;

/** An agent says that the older part of its conversation gave way to a summary. */
export interface CompactionNotice {
  agentId: AgentId;
  /** ISO 8601. */
  at: string;
  /** Replies that gave way. */
  replies: number;
  /** What the conversation held before, as the model had counted it. */
  tokens: number;
}

/** Watches one agent from GO until the reaper has observed that nothing of it is left. */
export class Supervisor {
  /** @param tell of conversations that were summed up; must not throw */
  constructor(
    private readonly reaping: Reaping,
    private readonly tell: (notice: CompactionNotice) => void,
  ) {}

  /** @param timeoutMs wall-clock limit from now. */
  async watch(run: AgentRun, sandbox: RunningSandbox, log: AgentLog, timeoutMs: number): Promise<AgentEnd> {
    const limit = setTimeout(
      () => run.stop({ kind: 'limit', code: 'agent-timeout' }),
      Math.min(timeoutMs, LONGEST_TIMER_MS),
    );
    const said = new Said((figures) => this.tell({ agentId: run.agentId, at: new Date().toISOString(), ...figures }));
    const reading = Promise.all([
      readAll(sandbox.stdout, log, (line) => {
        run.progressed();
        return said.take(line);
      }),
      readAll(sandbox.stderr, log, (line) => {
        run.progressed();
        return { type: 'log', source: 'agent', text: line };
      }),
    ]);
    const { exitCode, outOfMemory, overDisk } = await sandbox.exited;
    clearTimeout(limit);
    const { outcome, cause, finishedOff } = await this.reaping.untilGone(run.agentId);
    // Everybody who could write is gone, so that the streams end.
    await reading;
    const { submitted, reason } = said;
    const { intent } = run;
    return endOfAgent({ outcome, cause, finishedOff, intent, exitCode, outOfMemory, overDisk, submitted, reason });
  }
}

/** What an agent said about its own work; the last word counts. */
class Said {
  submitted: string | undefined;
  reason: string | undefined;
  private compactions = 0;

  constructor(private readonly onCompaction: (figures: Pick<CompactionNotice, 'replies' | 'tokens'>) => void) {}

  take(line: string): AgentOutput {
    const output = parseOutput(line);
    if (output.type === 'submit') this.submitted = output.summary;
    if (output.type === 'end') this.reason = output.reason;
    if (output.type === 'compacted') this.takeCompaction(output);
    return output;
  }

  /** An agent that says it over and over fills its own log alone. */
  private takeCompaction({ replies, tokens }: AgentOutput & { type: 'compacted' }): void {
    this.compactions += 1;
    if (this.compactions <= MOST_COMPACTIONS_TOLD) this.onCompaction({ replies, tokens });
  }
}

/** Never rejects: an agent whose output cannot be read still ends. */
async function readAll(
  stream: AsyncIterable<Buffer>,
  log: AgentLog,
  read: (line: string) => AgentOutput,
): Promise<void> {
  try {
    for await (const line of boundedLines(stream)) {
      append(log, read(line));
      await log.drained();
    }
  } catch {
    log.append('system', 'The output of the agent could not be read to its end.');
  }
}

function append(log: AgentLog, output: AgentOutput): void {
  switch (output.type) {
    case 'log':
      log.append(output.source, output.text);
      return;
    case 'submit':
      log.append('agent', `Submitted: ${output.summary}`);
      return;
    case 'compacted':
      log.append(
        'agent',
        `Summed up ${String(output.replies)} older replies of a conversation of ${String(output.tokens)} tokens.`,
      );
      return;
    case 'end':
      log.append('agent', `Ended: ${output.reason}`);
  }
}
