import type { RunningSandbox } from '@capstan/sandbox';
import type { SessionRecord } from './session.js';

/** An agent that has outlived its orchestrator cannot go on, however often that is tried. `message` says why. */
export class CannotGoOn extends Error {}

/** What is found of an agent that has outlived its orchestrator. */
export interface FoundAgent {
  record: SessionRecord;
  sandbox: RunningSandbox;
}
