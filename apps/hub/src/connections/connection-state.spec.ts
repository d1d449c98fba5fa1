import { CONNECTION_STATES, type ConnectionState, mayMove, type Mover } from './connection-state.js';

/** FED-03, as a person would write it down. */
const LEGAL: [ConnectionState, ConnectionState, Mover[]][] = [
  ['PENDING', 'ACTIVE', ['admin']],
  ['PENDING', 'DISCONNECTED', ['admin', 'owner']],
  ['ACTIVE', 'SUSPENDED', ['admin', 'owner']],
  ['SUSPENDED', 'ACTIVE', ['admin', 'owner']],
  ['ACTIVE', 'DISCONNECTED', ['admin', 'owner']],
  ['SUSPENDED', 'DISCONNECTED', ['admin', 'owner']],
  ['PENDING', 'REVOKED', ['admin']],
  ['ACTIVE', 'REVOKED', ['admin']],
  ['SUSPENDED', 'REVOKED', ['admin']],
  ['DISCONNECTED', 'REVOKED', ['admin']],
];

test('a connection moves only as FED-03 says, and by whom it says', () => {
  for (const from of CONNECTION_STATES) {
    for (const to of CONNECTION_STATES) {
      const movers = LEGAL.find(([a, b]) => a === from && b === to)?.[2] ?? [];
      for (const mover of ['admin', 'owner'] as const) {
        expect([from, to, mover, mayMove(from, to, mover)]).toEqual([from, to, mover, movers.includes(mover)]);
      }
    }
  }
});
