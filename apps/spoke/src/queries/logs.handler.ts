import { type AgentLogs, WireFault } from '@capstan/protocol';
import { Injectable } from '@nestjs/common';
import { OrchestratorClient } from '../orchestrator/orchestrator.client.js';
import type { ReceiptResult } from '../receipts/receipt.signer.js';

const DEFAULT_LINES = 500;
const MOST_LINES = 5_000;

/** Query agent.logs: answered from the orchestrator. */
@Injectable()
export class LogsHandler {
  constructor(private readonly orchestrator: OrchestratorClient) {}

  /** @throws WireFault `agent-unknown`; LocalFault of the orchestrator's client */
  async answer({ agentId, after, limit }: AgentLogs): Promise<ReceiptResult> {
    const lines = limit === 0 ? DEFAULT_LINES : Math.min(limit, MOST_LINES);
    const page = await this.orchestrator.logs(agentId, after, lines);
    if (page === undefined) throw new WireFault('agent-unknown', agentId);
    return { case: 'logs', value: page };
  }
}
