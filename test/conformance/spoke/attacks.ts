import type { Attack } from '../attack.ts';
import { COMMANDS } from './command.attacks.ts';
import { GRANTS } from './grant.attacks.ts';
import { HANDSHAKE } from './handshake.attacks.ts';
import { LINK } from './link.attacks.ts';
import { ROUTED } from './routing.attacks.ts';
import type { SpokeUnderTest } from './spoke-under-test.ts';

/** The table for a spoke. */
export const SPOKE_ATTACKS: readonly Attack<SpokeUnderTest>[] = [
  ...COMMANDS,
  ...ROUTED,
  ...GRANTS,
  ...LINK,
  ...HANDSHAKE,
];
