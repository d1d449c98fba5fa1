/** Milliseconds that no change of the clock moves: only differences mean something. Asleep, the host does not age. */
export function steadyNow(): number {
  return performance.now();
}

/** What the clock would have shown at a steady time, had it gone then as it goes now; milliseconds since the epoch. */
export function clockAt(steadyMs: number): number {
  return Math.round(Date.now() - (steadyNow() - steadyMs));
}
