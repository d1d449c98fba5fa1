import { Injectable, type OnModuleInit } from '@nestjs/common';
import { desc, eq, sql } from 'drizzle-orm';
import { DatabaseService } from '../database/database.service.js';
import { agents } from '../database/schema.js';
import { LeaseTerms } from '../leases/lease-terms.js';

/** Agents that are remembered; the living always fit in before the dead are forgotten. */
const MOST = 100_000;

/** On which instance an agent is, from memory: a kill must find it while the database is away. */
@Injectable()
export class AgentDirectory implements OnModuleInit {
  private readonly known = new Map<string, string>();
  /** Agents that have ended, oldest first. */
  private readonly over = new Set<string>();

  constructor(
    private readonly database: DatabaseService,
    private readonly terms: LeaseTerms,
  ) {}

  async onModuleInit(): Promise<void> {
    const state = sql<string | null>`${agents.snapshot} ->> 'state'`;
    const rows = await this.database.db
      .select({ agentId: agents.agentId, instance: agents.instance, state })
      .from(agents)
      .orderBy(desc(sql`coalesce(${state}, '') NOT IN ('completed', 'failed', 'killed')`), desc(agents.asOf))
      .limit(MOST);
    for (const { agentId, instance, state: name } of rows.reverse()) this.keep(agentId, instance, isOver(name));
  }

  /** From memory only. */
  peek(agentId: string): string | undefined {
    return this.known.get(agentId);
  }

  /** Whether it is remembered as one that has ended. */
  hasEnded(agentId: string): boolean {
    return this.over.has(agentId);
  }

  /** From memory, else from the database. */
  async instanceOf(agentId: string): Promise<string | undefined> {
    const known = this.peek(agentId);
    if (known !== undefined) return known;
    const [row] = await this.database.db
      .select({ instance: agents.instance })
      .from(agents)
      .where(eq(agents.agentId, agentId));
    return row?.instance;
  }

  keep(agentId: string, instance: string, hasEnded = false): void {
    this.known.set(agentId, instance);
    this.terms.reported(agentId, instance, hasEnded);
    // An end is final, whatever is told again of the time before.
    if (hasEnded) this.over.add(agentId);
    if (this.known.size > MOST) this.forgetOne();
  }

  private forgetOne(): void {
    const [oldest] = this.over;
    if (oldest === undefined) return;
    this.over.delete(oldest);
    this.known.delete(oldest);
  }
}

function isOver(state: string | null): boolean {
  return state === 'completed' || state === 'failed' || state === 'killed';
}
