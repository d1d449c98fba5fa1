import { Lane } from './gen/capstan/v1/link_pb.js';
import { KillOutcome } from './gen/capstan/v1/receipt_pb.js';
import { LANE_NAMES, laneName, laneOf } from './lanes.js';
import { payloadKind, PAYLOAD_TYPES } from './payload-types.js';
import { killOutcome, killOutcomeName, type KillOutcomeName } from './kill-outcome.js';

describe('names on the wire', () => {
  it('puts the kill lane before all others', () => {
    const numbers = LANE_NAMES.map(laneOf);
    expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
    expect(laneOf('kill')).toBe(Math.min(...numbers));
    expect(numbers.map(laneName)).toEqual([...LANE_NAMES]);
  });

  it('refuses a lane that does not exist', () => {
    expect(() => laneName(Lane.UNSPECIFIED)).toThrow(expect.objectContaining({ code: 'frame-malformed' }));
  });

  it('knows the kind of each payload type and of no other', () => {
    for (const [kind, type] of Object.entries(PAYLOAD_TYPES)) expect(payloadKind(type)).toBe(kind);
    expect(payloadKind('application/vnd.capstan.command.v2+protobuf')).toBeUndefined();
  });

  it('never reads an outcome that it does not know as a death', () => {
    const names: KillOutcomeName[] = ['killed', 'already-gone', 'tombstoned', 'unconfirmed'];
    for (const name of names) expect(killOutcomeName(killOutcome(name))).toBe(name);
    expect(() => killOutcomeName(KillOutcome.UNSPECIFIED)).toThrow(
      expect.objectContaining({ code: 'payload-malformed' }),
    );
  });
});
