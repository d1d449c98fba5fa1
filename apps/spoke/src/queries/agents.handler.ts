import {
  agentId,
  type AgentList,
  AgentPageSchema,
  type AgentSnapshot,
  AgentSnapshotSchema,
  create,
  toBinary,
} from '@capstan/protocol';
import { Injectable } from '@nestjs/common';
import { OrchestratorClient } from '../orchestrator/orchestrator.client.js';
import type { ReceiptResult } from '../receipts/receipt.signer.js';

const DEFAULT_AGENTS = 100;
const MOST_AGENTS = 500;
/** A page must fit into one envelope, and an agent may have changed thousands of files. */
const PAGE_BYTES = 512 * 1_024;

/** Query agent.list: the agents that the orchestrator has not forgotten, the newest first. */
@Injectable()
export class AgentsHandler {
  constructor(private readonly orchestrator: OrchestratorClient) {}

  /** @throws WireFault `id-malformed`, `agent-unknown` where `after` was forgotten meanwhile; LocalFault of the client */
  async answer({ after, limit }: AgentList): Promise<ReceiptResult> {
    if (after !== '') agentId(after);
    const most = limit === 0 ? DEFAULT_AGENTS : Math.min(limit, MOST_AGENTS);
    const found = await this.orchestrator.page(after, most);
    const agents = thatFit(found);
    const isLast = found.length < most && agents.length === found.length;
    const next = isLast ? '' : (agents.at(-1)?.agentId ?? '');
    return { case: 'agents', value: create(AgentPageSchema, { agents, next }) };
  }
}

/** At least one: a single agent always fits into an envelope. */
function thatFit(agents: readonly AgentSnapshot[]): AgentSnapshot[] {
  let bytes = 0;
  const beyond = agents.findIndex((agent, at) => {
    bytes += toBinary(AgentSnapshotSchema, agent).length;
    return at > 0 && bytes > PAGE_BYTES;
  });
  return beyond < 0 ? [...agents] : agents.slice(0, beyond);
}
