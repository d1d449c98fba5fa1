import type { Command } from './gen/capstan/v1/command_pb.js';
import type { Query } from './gen/capstan/v1/query_pb.js';

/** What a command orders. */
export type CommandBody = Exclude<Command['body'], { case: undefined }>;
/** What a query asks. */
export type QueryBody = Exclude<Query['body'], { case: undefined }>;

/** The agent that a command or query is about; empty where it is about none, or about many. */
export function agentOf(body: CommandBody | QueryBody): string {
  return 'agentId' in body.value ? body.value.agentId : '';
}
