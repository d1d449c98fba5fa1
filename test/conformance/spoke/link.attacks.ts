import type { Attack } from '../attack.ts';
import { flood } from '../flood.ts';
import { linkAttacks } from '../link.attacks.ts';
import { statusBody } from '../wire/commands.ts';
import { encode } from '../wire/protobuf.ts';
import { header, seal } from '../wire/signed.ts';
import type { SpokeUnderTest } from './spoke-under-test.ts';

export const LINK: readonly Attack<SpokeUnderTest>[] = [
  ...linkAttacks<SpokeUnderTest>({
    side: 'spoke',
    open: (spoke) => spoke.link(),
    body: (spoke) => Promise.resolve({ envelope: spoke.command(statusBody()) }),
    works: (spoke) => spoke.serves(),
    honest: 'refused:agent-unknown',
  }),
  {
    id: 'spoke.link.epoch-back',
    does: 'tells a lower revocation epoch on an open link',
    expect: 'end:epoch-older',
    run: async (spoke) => {
      const link = await spoke.link();
      link.heartbeat({ revocation_epoch: spoke.revocationEpoch - 1n });
      return link.ended();
    },
  },
  {
    id: 'spoke.link.silent',
    does: 'falls silent on an open link',
    expect: 'end:link-silent',
    run: async (spoke) => {
      const link = await spoke.link();
      link.fallSilent();
      return link.ended(40_000);
    },
  },
  {
    id: 'spoke.link.forged-lease',
    does: 'sends a lease that is none, and one by another key; the link goes on',
    expect: 'refused:agent-unknown',
    run: async (spoke) => {
      const link = await spoke.link();
      const payload = { header: header(spoke.from()), session_epoch: 1, counter: 1, duration_ms: 1_000 };
      const forged = seal('lease', encode('LeaseRenewal', payload), spoke.operator.key);
      for (const lease_renewal of [new Uint8Array(50), encode('Envelope', forged)])
        link.heartbeat({ lease_renewal, revocation_epoch: spoke.revocationEpoch });
      return spoke.serves();
    },
  },
  {
    id: 'spoke.link.flood',
    does: 'sends a million frames of a few bytes; the spoke outlives it and answers, on this link or the next',
    expect: 'served',
    run: async (spoke) => {
      const link = await spoke.link();
      const got = await flood(link, () => Promise.resolve(undefined), spoke.revocationEpoch);
      const after = await spoke.order(spoke.command(statusBody()), 'commands', 60_000);
      return after === 'refused:agent-unknown' ? got : after;
    },
  },
];
