import { setTimeout as pause } from 'node:timers/promises';
import type { CommandAccepted, HubAgentView, HubClient } from '@capstan/localmesh';
import { HubProblem } from '@capstan/localmesh';
import { isTerminal, LocalFault } from '@capstan/protocol';

const EVERY_MS = 100;

/**
 * Follows an agent that was just ordered until it reaches a state.
 *
 * @param isThere answers whether the state is the one waited for; a terminal state always ends the wait.
 * @throws HubProblem where the command was refused; LocalFault `wait-timeout`, `command-expired`
 */
export async function waitForAgent(
  client: HubClient,
  ordered: CommandAccepted,
  isThere: (agent: HubAgentView) => boolean,
  options: { timeoutMs: number; onState?: (state: string) => void },
): Promise<HubAgentView> {
  const deadline = performance.now() + options.timeoutMs;
  let last = '';
  await checkAccepted(client, ordered, options.timeoutMs);
  for (;;) {
    const agent = await known(client, ordered.agentId);
    if (agent !== undefined && agent.state !== last) options.onState?.((last = agent.state));
    if (agent !== undefined && (isTerminal(agent.state) || isThere(agent))) return agent;
    if (performance.now() > deadline)
      throw new LocalFault(
        'wait-timeout',
        `Agent ${ordered.agentId} is ${last === '' ? 'not known yet' : last} after ${String(options.timeoutMs / 1000)} s.`,
      );
    await pause(EVERY_MS);
  }
}

/** Waits as long as the agent may run. */
export function waitForEnd(
  client: HubClient,
  ordered: CommandAccepted,
  onState: (state: string) => void,
): Promise<HubAgentView> {
  return waitForAgent(client, ordered, () => false, { timeoutMs: 24 * 3_600_000, onState });
}

/**
 * Waits for the instance's first word on an order.
 * @throws HubProblem in the words of the instance that refused; LocalFault `instance-away` once the order has expired
 */
export async function checkAccepted(client: HubClient, ordered: CommandAccepted, timeoutMs: number): Promise<void> {
  const command = await client.command(ordered.commandId, Math.min(timeoutMs, 15_000));
  const { refusal } = command;
  if (refusal !== undefined && refusal !== null) throw new HubProblem(422, refusal.code, refusal.sentence);
  if (command.state === 'TIMEOUT')
    throw new LocalFault('instance-away', `${ordered.instance} did not take the command before it expired.`);
}

async function known(client: HubClient, agentId: string): Promise<HubAgentView | undefined> {
  try {
    return await client.agent(agentId);
  } catch (error) {
    if (error instanceof HubProblem && error.status === 404) return undefined;
    throw error;
  }
}
