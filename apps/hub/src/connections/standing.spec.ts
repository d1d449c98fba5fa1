import type { Mover } from './connection-state.js';
import { standingAfter } from './standing.js';

const suspended = (...suspendedBy: Mover[]) => ({ state: 'SUSPENDED', suspendedBy }) as const;
const active = { state: 'ACTIVE', suspendedBy: [] } as const;

test('a suspension is lifted by the side that imposed it, and by no other', () => {
  expect(standingAfter(suspended('admin'), 'ACTIVE', 'owner')).toBeUndefined();
  expect(standingAfter(suspended('owner'), 'ACTIVE', 'admin')).toBeUndefined();
  expect(standingAfter(suspended('admin'), 'ACTIVE', 'admin')).toEqual(active);
  expect(standingAfter(suspended('owner'), 'ACTIVE', 'owner')).toEqual(active);
});

test('where both sides suspend, both must resume', () => {
  const both = standingAfter(suspended('owner'), 'SUSPENDED', 'admin');
  expect(both).toEqual(suspended('admin', 'owner'));
  expect(standingAfter(suspended('admin', 'owner'), 'ACTIVE', 'owner')).toEqual(suspended('admin'));
  expect(standingAfter(suspended('admin', 'owner'), 'ACTIVE', 'admin')).toEqual(suspended('owner'));
});

test('a move to where the connection is already changes nothing', () => {
  expect(standingAfter(active, 'ACTIVE', 'admin')).toEqual(active);
  expect(standingAfter(suspended('admin'), 'SUSPENDED', 'admin')).toEqual(suspended('admin'));
});
