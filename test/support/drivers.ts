/** Sandbox drivers on which what crosses rooms is proven; each of the tests names them all. */
export const DRIVERS = ['bubblewrap'] as const;
export type DriverName = (typeof DRIVERS)[number];
