import { Injectable } from '@nestjs/common';
import { desc, eq, isNotNull } from 'drizzle-orm';
import type { AgentView } from '@capstan/protocol';
import { DatabaseService } from '../database/database.service.js';
import { agents } from '../database/schema.js';

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

  /** Undefined where nothing was reported. */
  async find(agentId: string): Promise<ReportedAgentView | undefined> {
    const [row] = await this.database.db.select().from(agents).where(eq(agents.agentId, agentId));
    return row === undefined ? undefined : viewOf(row);
  }
}

function viewOf({ instance, snapshot, asOf }: typeof agents.$inferSelect): ReportedAgentView | undefined {
  return snapshot === null || asOf === null ? undefined : { ...snapshot, instance, asOf: asOf.toISOString() };
}
