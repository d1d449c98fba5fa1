import { type CommandBody, type Header, LIMITS, WireFault } from '@capstan/protocol';
import type { KeyRecord } from '../key-record.js';
import type { KeyRing } from '../key-ring.js';
import type { GRANT_VERBS } from './make-grant.js';
import { type HeldChain, verifyGrantChain } from './verify-grant-chain.js';

const VERBS: Partial<Record<CommandBody['case'], (typeof GRANT_VERBS)[number]>> = {
  spawn: 'agent.spawn',
  status: 'agent.status',
  kill: 'agent.kill',
};

/**
 * The grants under which a verified command is given; undefined where it claims none. What a spawn may spend is left to
 * whoever counts it, and time to {@link checkGrantTime}.
 *
 * @param operators pinned by the owner; those of purpose `grant` may begin a chain
 * @throws {WireFault} as `verifyGrantChain`
 */
export function commandGrants(
  { header, body, key }: { header: Header; body: CommandBody; key: KeyRecord },
  operators: KeyRing,
): HeldChain | undefined {
  if (header.grantChain.length === 0) return undefined;
  const verb = VERBS[body.case];
  if (verb === undefined) throw new WireFault('grant-exceeded', `${body.case} cannot be granted`);
  const { issuer, audience, tenant } = header;
  const act = { issuer, key, verb, instance: audience, tenant };
  const repository = body.case === 'spawn' ? { repository: body.value.context?.repository ?? '' } : {};
  return verifyGrantChain({ chain: header.grantChain, keys: operators, command: { ...act, ...repository } });
}

/** Whether every grant of a chain holds now; 30 s of difference between clocks are borne. @throws {WireFault} `expired`, `clock-skew` */
export function checkGrantTime({ grants }: HeldChain, nowMs: number): void {
  for (const { issuedAtMs, expiresAtMs } of grants) {
    if (issuedAtMs > nowMs + LIMITS.clockSkewMs) throw new WireFault('clock-skew', 'a grant of the future');
    if (expiresAtMs <= nowMs) throw new WireFault('expired', 'a grant');
  }
}
