import { Injectable } from '@nestjs/common';
import { and, desc, eq, isNotNull } from 'drizzle-orm';
import type { AgentView } from '@capstan/protocol';
import { DatabaseService } from '../database/database.service.js';
import { Leases } from '../leases/leases.js';
import { commandOfRow } from '../commands/command-rows.js';
import { agents, commands } from '../database/schema.js';
import { refusedAgent } from './refused-agent.js';

/** An agent as its instance last reported it. */
export interface ReportedAgentView extends AgentView {
  instance: string;
  /** When the instance said so, ISO 8601; what happened since is unknown. */
  asOf: string;
  /**
   * By when it is dead if its instance hears nothing more from this hub, ISO 8601. Null where it lives on without the
   * hub, and once it has ended.
   */
  leaseEndsAt: string | null;
}

/** The newest agents that one answer lists. */
const MOST_LISTED = 1_000;

/** Reads agents as last reported. */
@Injectable()
export class AgentStore {
  constructor(
    private readonly database: DatabaseService,
    private readonly leases: Leases,
  ) {}

  /** Most recently reported first. */
  async list(): Promise<ReportedAgentView[]> {
    const rows = await this.database.db
      .select()
      .from(agents)
      .where(isNotNull(agents.snapshot))
      .orderBy(desc(agents.asOf))
      .limit(MOST_LISTED);
    return rows.map((row) => this.viewOf(row)).filter((view) => view !== undefined);
  }

  /** Undefined where nothing was reported yet; why there will be nothing, where its spawn was refused. */
  async find(agentId: string): Promise<ReportedAgentView | undefined> {
    const [row] = await this.database.db.select().from(agents).where(eq(agents.agentId, agentId));
    return row === undefined ? undefined : (this.viewOf(row) ?? this.refused(agentId));
  }

  private async refused(agentId: string): Promise<ReportedAgentView | undefined> {
    const isItsSpawn = and(eq(commands.agentId, agentId), eq(commands.kind, 'agent.spawn'));
    const [row] = await this.database.db.select().from(commands).where(isItsSpawn);
    return row === undefined ? undefined : refusedAgent(commandOfRow(row));
  }

  private viewOf({ agentId, instance, snapshot, asOf }: typeof agents.$inferSelect): ReportedAgentView | undefined {
    if (snapshot === null || asOf === null) return undefined;
    const leaseEndsAt = this.leases.leaseEndsAt(agentId)?.toISOString() ?? null;
    return { ...snapshot, instance, asOf: asOf.toISOString(), leaseEndsAt };
  }
}
