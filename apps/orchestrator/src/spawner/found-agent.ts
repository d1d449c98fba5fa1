import type { RunningSandbox } from '@capstan/sandbox';
import type { SessionRecord } from './session-record.js';

/** What is found of an agent that has outlived its orchestrator. */
export interface FoundAgent {
  record: SessionRecord;
  sandbox: RunningSandbox;
}
