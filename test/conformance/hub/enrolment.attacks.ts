import type { Attack } from '../attack.ts';
import { encode, type Message, utf8 } from '../wire/protobuf.ts';
import { type Key, label, makeKey, malleate, seal, withSignature } from '../wire/signed.ts';
import { answerOf, type HubUnderTest, type Invite, refusal } from './hub-under-test.ts';

type HubAttack = Attack<HubUnderTest>;

interface Parts {
  invite: Invite;
  id: string;
  key: Key;
  reaper: Key;
}

/** The neutral element: node:crypto would believe anything under it. */
const WEAK = Uint8Array.from([1, ...new Uint8Array(31)]);

/** Posts a statement that must be refused; the invitation is spent on an honest one afterwards, which shows that it was good. */
function statement(
  make: (hub: HubUnderTest, parts: Parts) => Message,
  secretOf: (invite: Invite) => string = ({ secret }) => secret,
): HubAttack['run'] {
  return async (hub) => {
    const parts = { invite: await hub.invite(), id: hub.newName(), key: makeKey(), reaper: makeKey() };
    return answerOf(await hub.redeem(secretOf(parts.invite), make(hub, parts)));
  };
}

const changed =
  (change: (parts: Parts) => Message, header: Message = {}): ((hub: HubUnderTest, parts: Parts) => Message) =>
  (hub, parts) => {
    const { invite, id, key, reaper } = parts;
    return seal('enrollment', encode('Enrollment', hub.statement(invite, id, key, reaper, change(parts), header)), key);
  };

export const ENROLMENT: readonly HubAttack[] = [
  {
    id: 'hub.enrolment.token-again',
    does: 'redeems an invitation a second time, for another instance',
    expect: 'problem:enrollment-token',
    run: async (hub) => {
      const { invite } = await hub.enrol();
      const [id, key, reaper] = [hub.newName(), makeKey(), makeKey()];
      const again = seal('enrollment', encode('Enrollment', hub.statement(invite, id, key, reaper)), key);
      return answerOf(await hub.redeem(invite.secret, again));
    },
  },
  {
    id: 'hub.enrolment.token-guessed',
    does: 'invents a secret',
    expect: 'problem:enrollment-token',
    run: statement(
      changed(() => ({})),
      () => Buffer.alloc(32, 7).toString('base64url'),
    ),
  },
  {
    id: 'hub.enrolment.spliced',
    does: 'posts a statement that was made for another token',
    expect: 'problem:enrollment-mismatch',
    run: statement(changed(() => ({ token_digest: new Uint8Array(32).fill(9) }))),
  },
  {
    id: 'hub.enrolment.no-possession',
    does: 'names a key that it does not have',
    expect: ['problem:key-unknown', 'problem:signature-invalid'],
    run: statement((hub, { invite, id, key, reaper }) =>
      seal('enrollment', encode('Enrollment', hub.statement(invite, id, key, reaper)), makeKey()),
    ),
  },
  {
    id: 'hub.enrolment.malleated',
    does: 'signs with S + L in place of S',
    expect: 'problem:signature-invalid',
    run: statement((hub, parts) => withSignature(changed(() => ({}))(hub, parts), malleate)),
  },
  {
    id: 'hub.enrolment.small-order',
    does: 'brings a key of small order',
    expect: 'problem:key-weak',
    run: statement(changed(() => ({ identity_key: WEAK }))),
  },
  {
    id: 'hub.enrolment.small-order-reaper',
    does: 'brings a reaper with a key of small order',
    expect: 'problem:key-weak',
    run: statement(changed(() => ({ reaper_key: WEAK }))),
  },
  {
    id: 'hub.enrolment.reaper-unwilling',
    does: "brings somebody's reaper that has not endorsed it",
    expect: 'problem:signature-invalid',
    run: statement(changed(() => ({ reaper_key: makeKey().raw }))),
  },
  {
    id: 'hub.enrolment.reaper-of-another',
    does: 'brings an endorsement of another name',
    expect: 'problem:signature-invalid',
    run: statement(
      changed(({ key, reaper }) => ({
        reaper_signature: reaper.sign(label('capstan.v1.reaper-endorse', utf8('somebody'), key.raw)),
      })),
    ),
  },
  {
    id: 'hub.enrolment.one-key',
    does: 'brings one key for spoke and reaper, who could then forge deaths',
    expect: 'problem:key-purpose',
    run: statement(
      changed(({ id, key }) => ({
        reaper_key: key.raw,
        reaper_signature: key.sign(label('capstan.v1.reaper-endorse', utf8(id), key.raw)),
      })),
    ),
  },
  {
    id: 'hub.enrolment.audience-swap',
    does: 'posts a statement that was made for another hub',
    expect: 'problem:wrong-audience',
    run: statement(changed(() => ({}), { audience: 'another-hub' })),
  },
  {
    id: 'hub.enrolment.id-swap',
    does: 'signs a header in the name of another instance than the statement',
    expect: 'problem:wrong-issuer',
    run: statement(changed(() => ({}), { issuer: 'somebody-else' })),
  },
  {
    id: 'hub.enrolment.name-taken',
    does: 'takes the name of an instance that is connected',
    expect: 'problem:enrollment-mismatch',
    run: async (hub) => {
      const { member } = await hub.hostile();
      const [invite, key, reaper] = [await hub.invite(), makeKey(), makeKey()];
      const theirs = seal('enrollment', encode('Enrollment', hub.statement(invite, member.id, key, reaper)), key);
      return answerOf(await hub.redeem(invite.secret, theirs));
    },
  },
  {
    id: 'hub.enrolment.key-taken',
    does: 'takes a key that is pinned for another name',
    expect: 'problem:enrollment-mismatch',
    run: async (hub) => {
      const { member } = await hub.hostile();
      const [invite, id, { key, reaper }] = [await hub.invite(), hub.newName(), member];
      const theirs = seal('enrollment', encode('Enrollment', hub.statement(invite, id, key, reaper)), key);
      return answerOf(await hub.redeem(invite.secret, theirs));
    },
  },
  {
    id: 'hub.enrolment.operator-name',
    does: 'calls itself an operator',
    expect: ['problem:id-malformed', 'problem:enrollment-mismatch'],
    run: async (hub) => {
      const [invite, id, key, reaper] = [await hub.invite(), `op-${hub.newName()}`, makeKey(), makeKey()];
      const theirs = seal('enrollment', encode('Enrollment', hub.statement(invite, id, key, reaper)), key);
      return answerOf(await hub.redeem(invite.secret, theirs));
    },
  },
  {
    id: 'hub.enrolment.revoked-mid-flight',
    does: 'is revoked while its link is open, dials again, and enrols again under its name and under its keys',
    expect: 'end:key-revoked, end:key-revoked, problem:enrollment-mismatch, problem:enrollment-mismatch',
    needs: 'admin',
    run: async (hub) => {
      const member = await hub.enrol();
      const link = await hub.link(member);
      const revoked = await hub.api(`federation/connections/${await hub.connectionOf(member)}/revoke`, { body: {} });
      if (revoked.status >= 300) return `revoking: ${answerOf(revoked)}`;
      const got = [await link.ended(1_000)];
      got.push(await refusal(hub.handshake(member)));
      for (const [id, key] of [
        [member.id, makeKey()],
        [hub.newName(), member.key],
      ] as const) {
        const [invite, reaper] = [await hub.invite(), makeKey()];
        const again = seal('enrollment', encode('Enrollment', hub.statement(invite, id, key, reaper)), key);
        got.push(answerOf(await hub.redeem(invite.secret, again)));
      }
      return got.join(', ');
    },
  },
];
