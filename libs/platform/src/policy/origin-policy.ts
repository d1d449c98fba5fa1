import { type CommandBody, isId, WireFault } from '@capstan/protocol';

/** Commands for which an owner can demand an operator's own signature. Kills are always taken from the hub too. */
export const DEMANDABLE_COMMANDS = ['spawn', 'status', 'rearm'] as const;
export type DemandableCommand = (typeof DEMANDABLE_COMMANDS)[number];

/** What another instance can be allowed to order. */
export const PEER_COMMANDS = ['spawn', 'status', 'kill'] as const;
export type PeerCommand = (typeof PEER_COMMANDS)[number];

/** What one other instance may order here. It reaches every agent of this instance, not only those that it started. */
export interface PeerRule {
  /** Its id. */
  instance: string;
  /** What it may order: `spawn`, `status`, `kill`. */
  verbs: readonly PeerCommand[];
}

/** The owner's word on who may order at all. */
export interface OriginPolicy {
  /**
   * Of these, `spawn`, `status` and `rearm`, only what an operator has signed is taken: a hub that was broken into cannot
   * order them. None unless told.
   */
  demandOperatorSignature: readonly DemandableCommand[];
  /** Other instances that may order something; all others may nothing. None unless told. */
  peers: readonly PeerRule[];
}

/** Whose signature a command bears. */
export type CommandOrigin = { kind: 'hub' } | { kind: 'operator' } | { kind: 'peer'; instance: string };

/**
 * The owner's word on who orders this.
 *
 * @throws WireFault `policy-operator` where an operator's signature is demanded, `policy-peer` where another instance orders
 *   what it was not allowed
 */
export function checkOrigin(policy: OriginPolicy, command: CommandBody['case'], origin: CommandOrigin): void {
  if (origin.kind === 'operator') return;
  if (policy.demandOperatorSignature.some((demanded) => demanded === command)) throw new WireFault('policy-operator');
  if (origin.kind === 'hub') return;
  const rules = policy.peers.filter(({ instance }) => instance === origin.instance);
  if (!rules.some(({ verbs }) => verbs.some((verb) => verb === command))) {
    throw new WireFault('policy-peer', `${command} by ${origin.instance}`);
  }
}

/** Reads `demandOperatorSignature` and `peers` of a policy file; both may be absent. Faults are added to `faults`. */
export function parseOriginPolicy(root: Readonly<Record<string, unknown>>, faults: string[]): OriginPolicy {
  const demanded = root['demandOperatorSignature'] ?? [];
  const peers = root['peers'] ?? [];
  if (!Array.isArray(peers)) faults.push('peers must be a list');
  return {
    demandOperatorSignature: choices(demanded, 'demandOperatorSignature', DEMANDABLE_COMMANDS, faults),
    peers: Array.isArray(peers) ? peers.map((peer: unknown, at) => peerRule(peer, `peers[${String(at)}]`, faults)) : [],
  };
}

function peerRule(value: unknown, name: string, faults: string[]): PeerRule {
  const { instance, verbs, ...others } = (value ?? {}) as Record<string, unknown>;
  for (const field of Object.keys(others)) faults.push(`${name} has an unknown field "${field}"`);
  const isNamed = typeof instance === 'string' && isId(instance);
  if (!isNamed) faults.push(`${name}.instance must be the id of an instance`);
  return { instance: isNamed ? instance : '', verbs: choices(verbs, `${name}.verbs`, PEER_COMMANDS, faults) };
}

function choices<T extends string>(value: unknown, name: string, known: readonly T[], faults: string[]): T[] {
  const isKnown = (item: unknown): item is T => known.some((each) => each === item);
  if (Array.isArray(value) && value.every(isKnown)) return value;
  faults.push(`${name} must be a list of ${known.join(', ')}`);
  return [];
}
