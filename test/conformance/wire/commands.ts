import { encode, type Message } from './protobuf.ts';
import { header, type Key, newId, seal } from './signed.ts';

/** A command that costs nothing: the state of an agent that nobody has seen. */
export function statusBody(agent_id = `agent-${newId()}`): Message {
  return { status: { agent_id } };
}

export function killBody(agent_id = `agent-${newId()}`): Message {
  return { kill: { agent_id, reason: 'conformance' } };
}

export function spawnBody(change: Message = {}): Message {
  const context = { repository: '/nowhere', work_items: ['nothing'] };
  const names = { agent_id: `agent-${newId()}`, task_id: `task-${newId()}` };
  const options = { sandbox: '', timeout_ms: 1_000, budget_micro_usd: 1 };
  return { spawn: { ...names, role: 'AGENT_ROLE_WORKER', runtime: 'claude', context, options, ...change } };
}

export interface From {
  issuer: string;
  audience: string;
  direction: string;
}

/** A command's payload, with an attack's changes to its header. */
export function commandPayload(from: From, body: Message, change: Message = {}): Message {
  return { header: header({ ...from, tenant: 'default', ...change }), ...body };
}

export function command(from: From, key: Key, body: Message, change: Message = {}): Message {
  return seal('command', encode('Command', commandPayload(from, body, change)), key);
}
