import type { Tokens } from './meter.js';

/** What is written of one request: no text of prompt or reply, no key. */
export interface RequestRecord {
  model: string;
  /** 0 where there was no reply. */
  status: number;
  /** How often the model was asked. */
  attempts: number;
  /** The upstream's name of the request; empty where it gave none. */
  requestId: string;
  isStream: boolean;
  /** Whether the reply has come to its end. */
  isWhole: boolean;
  tokens: Tokens | undefined;
  costMicroUsd: number;
  /** Of the agent so far. */
  spentMicroUsd: number;
  ms: number;
}
