import type { Attack } from '../attack.ts';
import { ENROLMENT } from './enrolment.attacks.ts';
import { ENVELOPES } from './envelope.attacks.ts';
import { HANDSHAKE } from './handshake.attacks.ts';
import type { HubUnderTest } from './hub-under-test.ts';
import { KILL_ALLS } from './kill-all.attacks.ts';
import { LINK } from './link.attacks.ts';
import { RECEIPTS } from './receipt.attacks.ts';
import { ROUTING } from './routing.attacks.ts';

/** The table for a hub. */
export const HUB_ATTACKS: readonly Attack<HubUnderTest>[] = [
  ...HANDSHAKE,
  ...LINK,
  ...ENVELOPES,
  ...ENROLMENT,
  ...RECEIPTS,
  ...KILL_ALLS,
  ...ROUTING,
];
