import { KillScope } from '@capstan/protocol';

export const SCOPES = ['mesh', 'instance', 'tenant'] as const;
export type ScopeName = (typeof SCOPES)[number];

/** What is stopped, as it is counted at each instance: all that the mesh has there, the instance, or one tenant. */
export interface Scope {
  readonly scope: ScopeName;
  /** The tenant; empty for the others. */
  readonly scopeId: string;
}

/** Whom an order about a scope is for: one instance, or every one. */
export interface ScopeOrder extends Scope {
  readonly instance?: string;
}

const ON_WIRE: Readonly<Record<ScopeName, KillScope>> = {
  mesh: KillScope.MESH,
  instance: KillScope.INSTANCE,
  tenant: KillScope.TENANT,
};

export function killScope(name: ScopeName): KillScope {
  return ON_WIRE[name];
}

/** The scope that a command on the wire names; undefined where it names none. */
export function scopeOfWire({ scope, scopeId }: { scope: KillScope; scopeId: string }): Scope | undefined {
  const name = SCOPES.find((each) => ON_WIRE[each] === scope);
  return name === undefined ? undefined : { scope: name, scopeId: name === 'tenant' ? scopeId : '' };
}

export function isScopeName(text: string): text is ScopeName {
  return SCOPES.some((name) => name === text);
}

/** Names a scope at an instance; as JSON, so that no two make one key. `instance` is empty for the order to all. */
export function scopeKey(instance: string, { scope, scopeId }: Scope): string {
  return JSON.stringify([instance, scope, scopeId]);
}
