import { type ConnectionState, mayMove, type Mover } from './connection-state.js';

/** Where a connection stands, and who keeps it there. */
export interface Standing {
  readonly state: ConnectionState;
  /** Empty unless it is SUSPENDED. */
  readonly suspendedBy: readonly Mover[];
}

/**
 * Where a move leads; undefined where it is refused. A move to where the connection is already changes nothing.
 *
 * A suspension is lifted by the side that imposed it: an admin who shuts an instance out must not be overruled by its
 * owner, nor an owner who takes his machine out of service by the admin. Where both suspend, both must resume.
 */
export function standingAfter(from: Standing, to: ConnectionState, mover: Mover): Standing | undefined {
  const { state, suspendedBy } = from;
  if (state === to) return to === 'SUSPENDED' ? suspended([...suspendedBy, mover]) : from;
  if (!mayMove(state, to, mover)) return undefined;
  if (to === 'SUSPENDED') return suspended([mover]);
  if (state !== 'SUSPENDED' || to !== 'ACTIVE') return { state: to, suspendedBy: [] };
  if (!suspendedBy.includes(mover)) return undefined;
  const left = suspendedBy.filter((other) => other !== mover);
  return left.length === 0 ? { state: to, suspendedBy: [] } : suspended(left);
}

export function isSameStanding(a: Standing, b: Standing): boolean {
  return a.state === b.state && a.suspendedBy.join() === b.suspendedBy.join();
}

function suspended(by: readonly Mover[]): Standing {
  return { state: 'SUSPENDED', suspendedBy: [...new Set(by)].sort() };
}
