/** An agent that has outlived its orchestrator cannot go on, however often that is tried. `message` says why. */
export class CannotGoOn extends Error {}
