import type { ConnectionView } from '@capstan/localmesh';
import { proves } from '../../../../test/support/proves.js';
import { spokeLines } from './spoke-lines.js';

function connection(over: Partial<ConnectionView>): ConnectionView {
  return {
    id: 'connection-1',
    instanceId: 'quay',
    displayName: 'quay',
    keys: [],
    state: 'ACTIVE',
    suspendedBy: [],
    online: true,
    stoppable: { proven: true, ageMs: 4_000, latencyMs: 12 },
    lastSeenAt: null,
    sealingKey: null,
    auditConflict: null,
    ...over,
  };
}

describe('the list of spokes', () => {
  it('says of a connection that has ended nothing about kills', () => {
    const ended = connection({
      id: 'connection-0',
      state: 'DISCONNECTED',
      online: false,
      stoppable: { proven: false, ageMs: null, latencyMs: null },
    });
    const [, first = '', second = ''] = spokeLines([ended, connection({})]);
    expect(first).toMatch(/^quay +DISCONNECTED +away +– +connection-0$/);
    expect(second).toMatch(/^quay +ACTIVE +online +stoppable: 12 ms, 4 s ago +connection-1$/);
  });

  it(
    'says loudly whose audit log contradicts what was signed before',
    proves('FED-18', () => {
      const auditConflict = {
        conflict: 'fork',
        sentence: 'Its log is another one.',
        size: 7,
        heldSize: 9,
        at: '2026-11-21T13:28:15.633Z',
      };
      expect(spokeLines([connection({ auditConflict })]).at(-1)).toBe(
        'AUDIT CONFLICT: quay: Its log is another one. It had signed 9 entries and shows 7, since 2026-11-21T13:28:15.633Z.',
      );
    }),
  );
});
