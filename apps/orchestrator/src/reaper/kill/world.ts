import { handleFault, isGone, members, signalHandle, type KillHandle } from '@capstan/sandbox';

/** What the reaper does to processes and sees of them; the model test plays it. */
export interface World {
  /** Why a handle must not be registered, as a sentence; null if it may. */
  handleFault(handle: KillHandle): string | null;
  isGone(handle: KillHandle): boolean;
  countMembers(handle: KillHandle): number;
  /** SIGKILL to all, once. */
  signal(handle: KillHandle): Promise<void>;
}

export const thisHost: World = {
  handleFault,
  isGone,
  countMembers: (handle) => members(handle).length,
  signal: signalHandle,
};
