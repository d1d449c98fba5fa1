import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { MeshInstance } from '@capstan/localmesh';
import { OrchestratorClient, type OrchestratorEvent, type OrchestratorEventFilter } from '@capstan/platform';
import type { AgentView } from '@capstan/protocol';
import { until } from './until.js';

/** The product's own client, at the orchestrator of an instance. */
export function clientOf(instance: MeshInstance): OrchestratorClient {
  return new OrchestratorClient({
    target: { path: instance.orchestratorSocket },
    token: async () => (await readFile(join(instance.dir, 'tokens', 'orchestrator.token'), 'utf8')).trim(),
    patienceMs: 60_000,
  });
}

/** Everything that an instance tells from now on, or from the beginning; closed at the end of its scope. */
export class EventLog implements AsyncDisposable {
  readonly events: OrchestratorEvent[] = [];
  private readonly stop = new AbortController();
  private readonly reading: Promise<void>;

  constructor(client: OrchestratorClient, filter: OrchestratorEventFilter = {}) {
    this.reading = this.read(client, filter);
  }

  /** The changes of one agent, in the order in which they came. */
  of(agentId: string): AgentView[] {
    return this.events.flatMap((event) =>
      event.kind === 'agent' && event.agent.agentId === agentId ? [event.agent] : [],
    );
  }

  /** The states that an agent went through; its changes besides them are left out. */
  statesOf(agentId: string): string[] {
    return this.of(agentId)
      .map(({ state }) => state)
      .filter((state, at, all) => state !== all[at - 1]);
  }

  /** Waits until nothing of the agent is left. */
  async cleaned(agentId: string): Promise<void> {
    await until(
      `${agentId} is cleaned up`,
      () => this.events.some((event) => event.kind === 'cleaned' && event.data['agentId'] === agentId),
      120_000,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stop.abort();
    await this.reading;
  }

  private async read(client: OrchestratorClient, filter: OrchestratorEventFilter): Promise<void> {
    for await (const event of client.events('0', this.stop.signal, filter)) this.events.push(event);
  }
}
