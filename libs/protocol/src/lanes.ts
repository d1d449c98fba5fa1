import { Lane } from './gen/capstan/v1/link_pb.js';
import { WireFault } from './wire-fault.js';

/** Lanes of a link in order of priority, most urgent first. */
export const LANE_NAMES = ['kill', 'control', 'commands', 'results', 'events'] as const;
export type LaneName = (typeof LANE_NAMES)[number];

const lanes: Record<LaneName, Lane> = {
  kill: Lane.KILL,
  control: Lane.CONTROL,
  commands: Lane.COMMANDS,
  results: Lane.RESULTS,
  events: Lane.EVENTS,
};

/** The number on the wire of a lane. */
export function laneOf(name: LaneName): Lane {
  return lanes[name];
}

/** The lane that a number on the wire names. @throws {WireFault} `frame-malformed` where it names none. */
export function laneName(lane: Lane): LaneName {
  const name = LANE_NAMES.find((candidate) => lanes[candidate] === lane);
  if (name === undefined) throw new WireFault('frame-malformed', `lane ${String(lane)}`);
  return name;
}
