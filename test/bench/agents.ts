import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { verifyReceipt, type VerifiedReceipt } from '@capstan/evidence';
import { loadTrust, type KeyRing } from '@capstan/identity';
import type { ReceiptView, SpawnBody } from '@capstan/localmesh';
import { decodeEnvelope, fromBase64, newId, type AgentView } from '@capstan/protocol';
import { HttpPeer } from './http.ts';
import { type BenchMesh, until } from './mesh.ts';

/** The agents of the mesh's first instance, as a benchmark needs them. */
export class Bench implements Disposable {
  readonly mesh: BenchMesh;
  private readonly hub: HttpPeer;
  private readonly orchestrator: HttpPeer;
  private readonly instance: string;
  private readonly keys: KeyRing;

  private constructor(mesh: BenchMesh, keys: KeyRing) {
    const [first] = mesh.instances;
    if (first === undefined) throw new Error('a mesh without an instance');
    this.instance = first.id;
    const token = readFileSync(join(first.dir, 'tokens', 'orchestrator.token'), 'utf8').trim();
    this.mesh = mesh;
    this.keys = keys;
    this.hub = new HttpPeer(mesh.hubUrl, mesh.token);
    this.orchestrator = new HttpPeer(first.orchestratorSocket, token);
  }

  static async on(mesh: BenchMesh): Promise<Bench> {
    return new Bench(mesh, await loadTrust(mesh.trustFile));
  }

  /** Orders an agent by the hub, the whole way. */
  async spawn(work: string): Promise<string> {
    const agentId = `bench-${newId().slice(-12)}`;
    const body: SpawnBody = { instance: this.instance, agentId, agentType: 'worker', context: this.context(work) };
    await this.hub.call(
      'POST',
      '/api/v1/federation/agents/spawn',
      JSON.stringify({ ...body, onHubLost: { keep: true } }),
    );
    return agentId;
  }

  /** Queues an agent at the instance itself, as its owner may; answers with its id. */
  async enqueue(work: string): Promise<string> {
    const body = { taskId: `bench-${newId().slice(-12)}`, agentType: 'worker', context: this.context(work) };
    return (await this.orchestrator.call<{ agentId: string }>('POST', '/agents/spawn', JSON.stringify(body))).agentId;
  }

  /** Agents that wait for a place, as the queue counts them. */
  async queued(): Promise<number> {
    return (await this.orchestrator.call<{ pending: number }>('GET', '/queue/counts')).pending;
  }

  /** @throws Error where the agent has failed */
  async isRunning(agentId: string): Promise<boolean> {
    const agent = await this.view(agentId);
    if (agent?.error) throw new Error(`${agentId}: ${agent.error.code}: ${agent.error.sentence}`);
    return agent?.state === 'running';
  }

  /** Waits until the agent runs. */
  async running(agentId: string): Promise<void> {
    await until(`${agentId} runs`, async () => (await this.isRunning(agentId)) || undefined);
  }

  /** Kills by the hub; the receipt is verified here, from pinned keys only. @throws Error unless the death was observed */
  async kill(agentId: string): Promise<VerifiedReceipt> {
    const path = `/api/v1/federation/agents/${agentId}/kill`;
    const body = JSON.stringify({ reason: 'bench', instance: this.instance, waitMs: 10_000 });
    const answer = await this.hub.call<{ outcome: string; receipt?: ReceiptView }>('POST', path, body);
    if (answer.receipt === undefined) throw new Error(`${agentId}: ${answer.outcome}`);
    return this.verify(answer.receipt);
  }

  /** Asks the instance for the agent's state, the whole way. */
  async status(agentId: string): Promise<ReceiptView> {
    const path = `/api/v1/federation/agents/${agentId}/status`;
    const { receipt } = await this.hub.call<{ receipt: ReceiptView }>('GET', path);
    this.verify(receipt);
    return receipt;
  }

  /** @throws WireFault where anything about the receipt is wrong */
  verify(receipt: ReceiptView): VerifiedReceipt {
    const [envelope, command] = [receipt.envelope, receipt.command].map((text) => decodeEnvelope(fromBase64(text)));
    if (envelope === undefined || command === undefined) throw new Error('a receipt without its command');
    return verifyReceipt({ envelope, keys: this.keys, command });
  }

  [Symbol.dispose](): void {
    this.hub[Symbol.dispose]();
    this.orchestrator[Symbol.dispose]();
  }

  private async view(agentId: string): Promise<AgentView | undefined> {
    try {
      return await this.orchestrator.call<AgentView>('GET', `/agents/${agentId}/status`);
    } catch {
      // Not there yet.
      return undefined;
    }
  }

  private context(work: string): SpawnBody['context'] {
    return { repository: this.mesh.repository, workItems: [work] };
  }
}
