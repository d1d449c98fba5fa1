import { Injectable, type OnModuleInit } from '@nestjs/common';
import { and, eq, sql } from 'drizzle-orm';
import { CommandSchema, decodeEnvelope, type Envelope, fromBinary, LIMITS } from '@capstan/protocol';
import { RecentMap } from '../commands/recent-map.js';
import { DatabaseService } from '../database/database.service.js';
import { agents, commands } from '../database/schema.js';

const MOST_OVER = 10_000;

/** Under which terms an agent lives. */
export interface Terms {
  instance: string;
  /** Milliseconds without a renewal after which it is killed; null where it lives on without this hub. */
  killAfterMs: number | null;
}

/** The terms of every agent that may live, from memory: a kill asks for them while the database is away. */
@Injectable()
export class LeaseTerms implements OnModuleInit {
  private readonly terms = new Map<string, Terms>();
  /** Agents that have ended: an older report that comes late brings none of them back. */
  private readonly over = new RecentMap<string, true>(MOST_OVER);

  constructor(private readonly database: DatabaseService) {}

  async onModuleInit(): Promise<void> {
    const isItsSpawn = and(eq(commands.agentId, agents.agentId), eq(commands.kind, 'agent.spawn'));
    const rows = await this.database.db
      .select({ agentId: agents.agentId, instance: agents.instance, spawn: commands.envelope, state: commands.state })
      .from(agents)
      .leftJoin(commands, isItsSpawn)
      .where(sql`coalesce(${agents.snapshot} ->> 'state', '') NOT IN ('completed', 'failed', 'killed')`);
    for (const { agentId, instance, spawn, state } of rows) {
      if (state === 'FAILED') continue;
      const killAfterMs = spawn === null ? null : killAfterOf(decodeEnvelope(spawn));
      this.terms.set(agentId, { instance, killAfterMs });
    }
  }

  /** An agent was ordered: its spawn names its terms. */
  ordered({ agentId, instance, envelope }: { agentId: string; instance: string; envelope: Envelope }): void {
    this.terms.set(agentId, { instance, killAfterMs: killAfterOf(envelope) });
  }

  /** An agent is as reported; one that nobody ordered through this hub lives by its owner's word. */
  reported(agentId: string, instance: string, hasEnded: boolean): void {
    if (hasEnded) {
      this.terms.delete(agentId);
      this.over.set(agentId, true);
      return;
    }
    if (!this.terms.has(agentId) && !this.over.has(agentId)) this.terms.set(agentId, { instance, killAfterMs: null });
  }

  /** Undefined where the agent has ended, or was never heard of. */
  of(agentId: string): Terms | undefined {
    return this.terms.get(agentId);
  }

  on(instance: string): Terms[] {
    return [...this.terms.values()].filter((terms) => terms.instance === instance);
  }
}

/** What the instance reads from the spawn, see docs/protocol.md. */
function killAfterOf({ payload }: Envelope): number | null {
  const { body } = fromBinary(CommandSchema, payload);
  const action = body.case === 'spawn' ? body.value.onHubLost?.action : undefined;
  switch (action?.case) {
    case 'keep':
      return null;
    case 'killAfterMs':
      return Number(action.value);
    case undefined:
      return LIMITS.killAfterMs;
  }
}
