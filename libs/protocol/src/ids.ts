import { v7, validate, version } from 'uuid';
import { WireFault } from './wire-fault.js';

declare const brand: unique symbol;
type Id<Name extends string> = string & { readonly [brand]: Name };

export type AgentId = Id<'agent'>;
export type TaskId = Id<'task'>;
export type InstanceId = Id<'instance'>;
export type HubId = Id<'hub'>;
export type CommandId = Id<'command'>;
export type TenantId = Id<'tenant'>;
export type OperatorId = Id<'operator'>;
export type KeyId = Id<'key'>;

const ID = /^[a-z0-9-]{1,63}$/;
const KEY_ID = /^k-[0-9a-f]{32}$/;

/** Whether a string can be an id: `[a-z0-9-]{1,63}`, so that none needs quoting in a path, a ref, a key or a log. */
export function isId(text: string): boolean {
  return ID.test(text);
}

/** Whether a string is a UUIDv7 in lower case, as every message id is. */
export function isMessageId(text: string): boolean {
  return ID.test(text) && validate(text) && version(text) === 7;
}

/** A new UUIDv7: unique, and sorted by the millisecond in which it was made. */
export function newId(): string {
  return v7();
}

function parser<T extends Id<string>>(what: string, pattern: RegExp): (text: string) => T {
  return (text) => {
    if (!pattern.test(text)) throw new WireFault('id-malformed', `${what} ${JSON.stringify(text.slice(0, 80))}`);
    return text as T;
  };
}

// Each parses a string from outside. @throws {WireFault} `id-malformed`
export const agentId = parser<AgentId>('agent', ID);
export const taskId = parser<TaskId>('task', ID);
export const instanceId = parser<InstanceId>('instance', ID);
export const hubId = parser<HubId>('hub', ID);
export const commandId = parser<CommandId>('command', ID);
export const tenantId = parser<TenantId>('tenant', ID);
export const operatorId = parser<OperatorId>('operator', ID);
export const keyId = parser<KeyId>('key', KEY_ID);
