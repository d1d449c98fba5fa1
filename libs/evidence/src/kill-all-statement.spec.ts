import { envelopeDigest, KeyRing } from '@capstan/identity';
import { type Envelope, KillOutcome, KillScope } from '@capstan/protocol';
import { command, killAllStatement, observation, receipt, trust } from '../../../proto/vectors/world.js';
import { proves } from '../../../test/support/proves.js';
import { describeReceipt } from './describe-receipt.js';
import { lacksStatement, provesKillAll } from './kill-all-statement.js';
import { verifyReceipt } from './verify-receipt.js';

// What the vectors of receipts.json cannot say: every byte, and what follows from a receipt that verifies.

const order = command({ case: 'killAll', value: { scope: KillScope.INSTANCE, epoch: 1n } });
const digest = envelopeDigest(order);
const keys = trust();
const invalid = expect.objectContaining({ name: 'WireFault', code: 'statement-invalid' }) as Error;

function answer(agentIds: string[], statement: Uint8Array, outcome = KillOutcome.KILLED): Envelope {
  const agents = agentIds.map((agentId) => {
    const isSeen = outcome !== KillOutcome.UNCONFIRMED;
    return { agentId, result: { outcome, observation: isSeen ? observation(digest, { agentId }) : new Uint8Array() } };
  });
  return receipt(digest, { agentId: '', result: { case: 'killedAll', value: { epoch: 1n, agents, statement } } });
}

const BOTH = ['agent-1', 'agent-2'];
const verified = (envelope: Envelope) => verifyReceipt({ envelope, keys, command: order, hubId: 'hub' });

test('a kill-all is proven where its reaper has named all agents, and signed the death of each', () => {
  const whole = verified(answer(BOTH, killAllStatement(digest)));
  expect(whole.killAll).toMatchObject({ scope: 'instance', scopeId: '', epoch: 1n, agents: BOTH });
  expect(provesKillAll(whole.receipt)).toBe(true);
  expect(describeReceipt(whole).join('\n')).toContain('names all that lived: 2 agents');
  const open = verified(answer(BOTH, killAllStatement(digest), KillOutcome.UNCONFIRMED));
  expect([provesKillAll(open.receipt), lacksStatement(open.receipt)]).toEqual([false, false]);
});

test(
  'without the reaper’s statement it is not, be the list empty or whole, and whoever reads it is told',
  proves('FED-18', () => {
    for (const agentIds of [[], BOTH]) {
      const blind = verified(answer(agentIds, new Uint8Array()));
      expect(blind.killAll).toBeUndefined();
      expect([provesKillAll(blind.receipt), lacksStatement(blind.receipt)]).toEqual([false, true]);
      expect(describeReceipt(blind).join('\n')).toContain('UNCONFIRMED');
    }
  }),
);

test('a statement of which any byte was changed is refused', () => {
  const statement = killAllStatement(digest);
  for (let at = 0; at < statement.length; at++) {
    const forged = Uint8Array.from(statement);
    forged[at]! ^= 1;
    expect(() => verified(answer(BOTH, forged))).toThrow(invalid);
  }
});

test('a statement of a reaper that is not pinned is refused', () => {
  const withoutReaper = new KeyRing(keys.records().filter(({ purposes }) => !purposes.includes('observe')));
  const envelope = answer([], killAllStatement(digest, { agents: [] }));
  expect(() => verifyReceipt({ envelope, keys: withoutReaper })).toThrow(invalid);
});

test('a statement about another epoch than the receipt tells is refused, also where the command is not at hand', () => {
  const envelope = answer(BOTH, killAllStatement(digest, { epoch: 2n }));
  expect(() => verifyReceipt({ envelope, keys })).toThrow(invalid);
});

test('a statement that names no scope is refused, also where the command is not at hand', () => {
  const envelope = answer(BOTH, killAllStatement(digest, { scope: KillScope.UNSPECIFIED }));
  expect(() => verifyReceipt({ envelope, keys })).toThrow(invalid);
});
