import { Injectable } from '@nestjs/common';
import { and, desc, eq, isNotNull } from 'drizzle-orm';
import type { AgentView } from '@capstan/protocol';
import { DatabaseService } from '../database/database.service.js';
import { commandOfRow } from '../commands/command-rows.js';
import { agents, commands } from '../database/schema.js';
import { refusedAgent } from './refused-agent.js';

/** An agent as its instance last reported it. */
export interface ReportedAgentView extends AgentView {
  instance: string;
  /** When the instance said so, ISO 8601; what happened since is unknown. */
  asOf: string;
}

/** The newest agents that one answer lists. */
const MOST_LISTED = 1_000;

/** Reads agents as last reported. */
@Injectable()
export class AgentStore {
  constructor(private readonly database: DatabaseService) {}

  /** Most recently reported first. */
  async list(): Promise<ReportedAgentView[]> {
    const rows = await this.database.db
      .select()
      .from(agents)
      .where(isNotNull(agents.snapshot))
      .orderBy(desc(agents.asOf))
      .limit(MOST_LISTED);
    return rows.map(viewOf).filter((view) => view !== undefined);
  }

  /** Undefined where nothing was reported yet; why there will be nothing, where its spawn was refused. */
  async find(agentId: string): Promise<ReportedAgentView | undefined> {
    const [row] = await this.database.db.select().from(agents).where(eq(agents.agentId, agentId));
    return row === undefined ? undefined : (viewOf(row) ?? this.refused(agentId));
  }

  private async refused(agentId: string): Promise<ReportedAgentView | undefined> {
    const isItsSpawn = and(eq(commands.agentId, agentId), eq(commands.kind, 'agent.spawn'));
    const [row] = await this.database.db.select().from(commands).where(isItsSpawn);
    return row === undefined ? undefined : refusedAgent(commandOfRow(row));
  }
}

function viewOf({ instance, snapshot, asOf }: typeof agents.$inferSelect): ReportedAgentView | undefined {
  return snapshot === null || asOf === null ? undefined : { ...snapshot, instance, asOf: asOf.toISOString() };
}
