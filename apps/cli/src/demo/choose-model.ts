import { createInterface } from 'node:readline/promises';
import type { MeshModel } from '@capstan/localmesh';
import type { Output } from '../output/output.js';

/** What is asked of a model unless ANTHROPIC_MODEL names another. */
export const DEFAULT_MODEL = 'claude-sonnet-5-5';
export const BUDGET_MICRO_USD = 1_000_000;

/**
 * Who answers the agents: the scripted provider, unless a key is set and its owner agrees that money is spent and that
 * text of the repository leaves this machine. Nobody is asked where nobody can answer; then nothing leaves.
 */
export async function chooseModel(
  output: Output,
  options: { scripted: boolean; yes: boolean; signal: AbortSignal },
): Promise<MeshModel> {
  const apiKey = process.env['ANTHROPIC_API_KEY'] ?? process.env['CLAUDE_API_KEY'] ?? '';
  if (options.scripted || apiKey === '') {
    const why = options.scripted ? 'As asked' : 'No ANTHROPIC_API_KEY is set';
    output.note(`${why}: a scripted provider answers the agents, and nothing leaves this machine.`);
    return { provider: 'scripted' };
  }
  const url = process.env['CAPSTAN_ANTHROPIC_URL'];
  output.note(
    `A model key is set. The agent would use ${modelName()}, may spend at most $${(BUDGET_MICRO_USD / 1_000_000).toFixed(2)}, and text of the repository would leave this machine (to ${url ?? 'api.anthropic.com'}).`,
  );
  if (!options.yes && !(await isAgreed(output, options.signal))) {
    output.note('Nothing leaves this machine: the scripted provider plays a playbook instead of a model.');
    return { provider: 'scripted' };
  }
  return { provider: 'anthropic', apiKey, ...(url === undefined ? {} : { url }) };
}

export function modelName(): string {
  const named = process.env['ANTHROPIC_MODEL'];
  return named === undefined || named === '' ? DEFAULT_MODEL : named;
}

async function isAgreed(output: Output, signal: AbortSignal): Promise<boolean> {
  if (!process.stdin.isTTY || !process.stderr.isTTY) {
    output.note('There is no terminal to ask at; --yes agrees beforehand.');
    return false;
  }
  const reader = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await reader.question('Use the model? [y/N] ', { signal });
    return /^y(es)?$/i.test(answer.trim());
  } catch {
    return false;
  } finally {
    reader.close();
  }
}
