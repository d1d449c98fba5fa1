import { KillOutcome } from './gen/capstan/v1/receipt_pb.js';
import { WireFault } from './wire-fault.js';

/** `unconfirmed` is never to be read as dead. */
export type KillOutcomeName = 'killed' | 'already-gone' | 'tombstoned' | 'unconfirmed';

const outcomes: Record<KillOutcomeName, KillOutcome> = {
  killed: KillOutcome.KILLED,
  'already-gone': KillOutcome.ALREADY_GONE,
  tombstoned: KillOutcome.TOMBSTONED,
  unconfirmed: KillOutcome.UNCONFIRMED,
};
const names = new Map(Object.entries(outcomes).map(([name, outcome]) => [outcome, name as KillOutcomeName]));

/** The name of an outcome on the wire. @throws {WireFault} `payload-malformed` where it names none. */
export function killOutcomeName(outcome: KillOutcome): KillOutcomeName {
  const name = names.get(outcome);
  if (name === undefined) throw new WireFault('payload-malformed', `kill outcome ${String(outcome)}`);
  return name;
}

/** The number on the wire of an outcome. */
export function killOutcome(name: KillOutcomeName): KillOutcome {
  return outcomes[name];
}
