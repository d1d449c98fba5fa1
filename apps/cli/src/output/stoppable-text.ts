import type { StoppableView } from '@capstan/localmesh';

/** For people: whether a kill would get through, and how old the proof is. */
export function stoppableText({ proven, ageMs, latencyMs }: StoppableView): string {
  if (ageMs === null) return 'not stoppable: never proven';
  const age = `${String(Math.round(ageMs / 1000))} s ago`;
  return proven ? `stoppable: ${String(latencyMs)} ms, ${age}` : `NOT STOPPABLE: last proven ${age}`;
}
