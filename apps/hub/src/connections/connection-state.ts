/** States of a connection (FED-03). Only ACTIVE carries commands; SUSPENDED still accepts kills. */
export const CONNECTION_STATES = ['PENDING', 'ACTIVE', 'SUSPENDED', 'DISCONNECTED', 'REVOKED'] as const;
export type ConnectionState = (typeof CONNECTION_STATES)[number];

/** Who moves it: the hub's admin, or the owner of the instance. */
export const MOVERS = ['admin', 'owner'] as const;
export type Mover = (typeof MOVERS)[number];

const EITHER: readonly Mover[] = ['admin', 'owner'];
const ADMIN: readonly Mover[] = ['admin'];

/** From, to, and who may. What is not here is refused. REVOKED is never left; DISCONNECTED only by a new enrolment. */
export const CONNECTION_TRANSITIONS: Readonly<
  Record<ConnectionState, Partial<Record<ConnectionState, readonly Mover[]>>>
> = {
  PENDING: { ACTIVE: ADMIN, DISCONNECTED: EITHER, REVOKED: ADMIN },
  ACTIVE: { SUSPENDED: EITHER, DISCONNECTED: EITHER, REVOKED: ADMIN },
  SUSPENDED: { ACTIVE: EITHER, DISCONNECTED: EITHER, REVOKED: ADMIN },
  DISCONNECTED: { REVOKED: ADMIN },
  REVOKED: {},
};

export function mayMove(from: ConnectionState, to: ConnectionState, mover: Mover): boolean {
  return CONNECTION_TRANSITIONS[from][to]?.includes(mover) ?? false;
}

/** Whether the instance may hold a link. */
export function mayLink(state: ConnectionState): boolean {
  return state === 'ACTIVE' || state === 'SUSPENDED';
}

/** Whether the instance's name is taken. */
export function isLive(state: ConnectionState): boolean {
  return state === 'PENDING' || state === 'ACTIVE' || state === 'SUSPENDED';
}

export function isConnectionState(text: string): text is ConnectionState {
  return CONNECTION_STATES.some((state) => state === text);
}

export function isMover(text: string): text is Mover {
  return MOVERS.some((mover) => mover === text);
}
