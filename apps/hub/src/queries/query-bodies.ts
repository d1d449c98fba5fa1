import {
  AgentListSchema,
  AgentLogsSchema,
  AgentWatchSchema,
  create,
  InstanceCatalogRequestSchema,
  type QueryBody,
} from '@capstan/protocol';

/** What each question is called in the record and in checks. */
export const QUERY_KINDS = {
  logs: 'agent.logs',
  catalog: 'instance.catalog',
  agents: 'agent.list',
  watch: 'agent.watch',
} as const satisfies Record<QueryBody['case'], string>;

export type QueryKind = (typeof QUERY_KINDS)[QueryBody['case']];

export function agentLogsQuery(agentId: string, after: bigint, limit: number): QueryBody {
  return { case: 'logs', value: create(AgentLogsSchema, { agentId, after, limit }) };
}

export function catalogQuery(): QueryBody {
  return { case: 'catalog', value: create(InstanceCatalogRequestSchema) };
}

export function agentListQuery(after: string, limit: number): QueryBody {
  return { case: 'agents', value: create(AgentListSchema, { after, limit }) };
}

export function agentWatchQuery(watch: {
  agentId: string;
  watchId: string;
  after: bigint;
  leaseMs: number;
}): QueryBody {
  return { case: 'watch', value: create(AgentWatchSchema, watch) };
}
