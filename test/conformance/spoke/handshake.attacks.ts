import type { Attack } from '../attack.ts';
import { challengeOf, nonce } from '../wire/handshake.ts';
import { Ended } from '../wire/link.ts';
import { bytes, encode, type Message } from '../wire/protobuf.ts';
import { makeKey, malleate } from '../wire/signed.ts';
import { HUB_ID } from './instance.ts';
import type { Answering, Dial, SpokeUnderTest } from './spoke-under-test.ts';

type SpokeAttack = Attack<SpokeUnderTest>;

/** How the spoke ends a handshake that must not succeed. */
const answered = (
  id: string,
  does: string,
  expect: string | string[],
  answer: (spoke: SpokeUnderTest) => Answering,
): SpokeAttack => ({
  id: `spoke.handshake.${id}`,
  does,
  expect,
  run: (spoke) => spoke.onNextDial(answer(spoke)),
});

/** Sends a Challenge, and says how the spoke takes it: `proof` would mean that it was believed. */
async function challenged({ wire }: Dial, challenge: Message): Promise<string> {
  wire.send({ challenge });
  try {
    await wire.frame('proof');
    return 'proof';
  } catch (error) {
    if (error instanceof Ended) return error.how;
    throw error;
  }
}

/** Admits the spoke with a Welcome that an attack has changed. */
const welcomed =
  (change: (dial: Dial) => Message) =>
  (spoke: SpokeUnderTest): Answering =>
  async (dial) => {
    try {
      await spoke.admit(dial, {}, change(dial));
      return 'let in';
    } catch (error) {
      if (error instanceof Ended) return error.how;
      throw error;
    }
  };

export const HANDSHAKE: readonly SpokeAttack[] = [
  answered(
    'another-key',
    'signs with another key than the pinned one that it names',
    'end:handshake-signature',
    (spoke) => (dial) => challenged(dial, { ...challengeOf(dial.hello, HUB_ID, makeKey(), { key_id: spoke.key.id }) }),
  ),
  answered(
    'unknown-key',
    'names and uses a key that nobody has pinned',
    'end:key-unknown',
    () => (dial) => challenged(dial, challengeOf(dial.hello, HUB_ID, makeKey())),
  ),
  answered(
    'another-hub',
    'calls itself another hub',
    'end:wrong-issuer',
    (spoke) => (dial) => challenged(dial, challengeOf(dial.hello, 'another-hub', spoke.key)),
  ),
  answered(
    'downgrade',
    'signs another Hello: as if the list of versions had been altered on the way',
    'end:handshake-signature',
    (spoke) => (dial) => {
      const other = encode('Frame', { hello: { ...dial.said, versions: [1, 2] } });
      return challenged(dial, challengeOf(other, HUB_ID, spoke.key));
    },
  ),
  answered(
    'version-not-offered',
    'chooses a version that was not offered',
    'end:handshake-version',
    (spoke) => (dial) => challenged(dial, challengeOf(dial.hello, HUB_ID, spoke.key, { version: 4_000 })),
  ),
  answered('malleated', 'signs with S + L in place of S', 'end:handshake-signature', (spoke) => (dial) => {
    const challenge = challengeOf(dial.hello, HUB_ID, spoke.key);
    return challenged(dial, { ...challenge, signature: malleate(bytes(challenge, 'signature')) });
  }),
  {
    id: 'spoke.handshake.replayed-challenge',
    does: 'repeats a Challenge of an earlier dial',
    expect: 'end:handshake-signature',
    run: async (spoke) => {
      let kept: Message = {};
      await spoke.onNextDial((dial) => {
        kept = challengeOf(dial.hello, HUB_ID, spoke.key);
        dial.wire.ws.terminate();
        return Promise.resolve('');
      });
      return spoke.onNextDial((dial) => challenged(dial, kept));
    },
  },
  answered(
    'short-nonce',
    'sends a nonce of 31 bytes',
    'end:frame-malformed',
    (spoke) => (dial) => challenged(dial, challengeOf(dial.hello, HUB_ID, spoke.key, { nonce: nonce().slice(1) })),
  ),
  answered('reflection', "sends the spoke's Hello back to it", 'end:frame-malformed', () => async ({ wire, hello }) => {
    wire.sendRaw(hello);
    return wire.ended();
  }),
  answered(
    'half-open',
    'says nothing to a Hello',
    'end:handshake-timeout',
    () =>
      ({ wire }) =>
        wire.ended(10_000),
  ),
  answered('welcome-first', 'sends a Welcome without a Challenge', 'end:frame-malformed', () => async ({ wire }) => {
    wire.send({ welcome: { session_id: 'x', session_epoch: 2n ** 50n, heartbeat_ms: 5_000, dead_after_ms: 15_000 } });
    return wire.ended();
  }),
  answered(
    'session-epoch-back',
    'opens a session of an epoch that was seen before',
    'end:sequence-gap',
    welcomed(({ said }) => ({
      session_epoch: said['session_epoch'] ?? 0,
    })),
  ),
  answered(
    'lax-times',
    'wants a heartbeat a minute only',
    'end:frame-malformed',
    welcomed(() => ({ heartbeat_ms: 60_000, dead_after_ms: 600_000 })),
  ),
  answered(
    'revocation-epoch-back',
    'was set back to before a revocation',
    'end:epoch-older',
    (spoke) => async (dial) => {
      try {
        const link = await spoke.admit(dial, {}, { revocation_epoch: spoke.revocationEpoch - 1n });
        return await link.ended();
      } catch (error) {
        if (error instanceof Ended) return error.how;
        throw error;
      }
    },
  ),
];
