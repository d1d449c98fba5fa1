import { envelopeDigest, keyRecord, KeyRing } from '@capstan/identity';
import { AgentState, encodeEnvelope, KillOutcome, toBase64, type Envelope } from '@capstan/protocol';
import { command, KILL, NOW, observation, receipt, signer, trust } from '../../../proto/vectors/world.js';
import { proves } from '../../../test/support/proves.js';
import { describeReceipt } from './describe-receipt.js';
import { makeBundle, parseBundle, verifyBundle } from './receipt-bundle.js';
import { verifyReceipt } from './verify-receipt.js';

const kill = command(KILL);
const digest = envelopeDigest(kill);
const keys = trust();
const fault = (code: string): Error => expect.objectContaining({ name: 'WireFault', code }) as Error;

function killed(seen: Uint8Array, outcome = KillOutcome.KILLED): Envelope {
  return receipt(digest, { result: { case: 'killed', value: { outcome, observation: seen } } });
}

describe('verifyReceipt', () => {
  it('shows what the reaper observed', () => {
    const verified = verifyReceipt({ envelope: killed(observation(digest)), keys, command: kill, hubId: 'hub' });
    expect(verified).toMatchObject({ kind: 'killed', issuer: 'quay', commandBound: true });
    expect(verified.observation).toEqual({
      agentId: 'agent-1',
      outcome: 'killed',
      orderedAtMs: NOW + 10,
      signalledAtMs: NOW + 11,
      observedAtMs: NOW + 14,
      bootId: '6a2c0f0e-7c1d-4c3b-9a58-0f4b1e7d2c11',
      processes: [
        { pid: 4242, startTicks: 991_337 },
        { pid: 4243, startTicks: 991_338 },
      ],
      pidNamespace: 4_026_532_177,
      cgroup: '/sys/fs/cgroup/capstan/agent-1',
      membersBefore: 3,
      verified: true,
    });
  });

  it(
    'refuses a death of which any byte was changed',
    proves('FED-18', () => {
      const seen = observation(digest);
      for (let at = 0; at < seen.length; at++) {
        const forged = Uint8Array.from(seen);
        forged[at]! ^= 1;
        expect(() => verifyReceipt({ envelope: killed(forged), keys, command: kill })).toThrow(
          fault('observation-invalid'),
        );
      }
    }),
  );

  it('refuses a death that the hub did not pin the reaper of', () => {
    const withoutReaper = new KeyRing(
      keys.records().filter(({ owner, purposes }) => owner !== 'quay' || !purposes.includes('observe')),
    );
    const envelope = killed(observation(digest));
    expect(() => verifyReceipt({ envelope, keys: withoutReaper, command: kill })).toThrow(fault('observation-invalid'));
  });

  it("refuses a death that the spoke's key signed, even where somebody gave it both purposes for another owner", () => {
    const generous = new KeyRing([
      ...keys.records(),
      keyRecord('harbor', signer('stranger').publicKey, ['receipt', 'observe']),
    ]);
    const seen = observation(digest, {}, 'stranger', { issuer: 'harbor' });
    expect(() => verifyReceipt({ envelope: killed(seen), keys: generous })).toThrow(fault('observation-invalid'));
  });

  it('shows no death for a kill that is unconfirmed, and still verifies what was seen of it', () => {
    const blind = verifyReceipt({ envelope: killed(new Uint8Array(), KillOutcome.UNCONFIRMED), keys });
    expect(blind.observation).toBeUndefined();
    const seen = observation(digest, { outcome: KillOutcome.UNCONFIRMED });
    expect(verifyReceipt({ envelope: killed(seen, KillOutcome.UNCONFIRMED), keys }).observation?.outcome).toBe(
      'unconfirmed',
    );
    const forged = observation(digest, { outcome: KillOutcome.UNCONFIRMED }, 'stranger');
    expect(() => verifyReceipt({ envelope: killed(forged, KillOutcome.UNCONFIRMED), keys })).toThrow(
      fault('observation-invalid'),
    );
  });

  it('refuses a receipt that is for another hub or in the name of another instance', () => {
    const seen = observation(digest);
    expect(() => verifyReceipt({ envelope: killed(seen), keys, hubId: 'other-hub' })).toThrow(fault('wrong-audience'));
    const result = { case: 'killed', value: { outcome: KillOutcome.KILLED, observation: seen } } as const;
    const foreign = receipt(digest, { result }, 'spoke', { issuer: 'harbor' });
    expect(() => verifyReceipt({ envelope: foreign, keys })).toThrow(fault('wrong-issuer'));
  });

  it('says that the command is not bound where none was given', () => {
    expect(verifyReceipt({ envelope: killed(observation(digest)), keys }).commandBound).toBe(false);
  });
});

describe('a receipt bundle', () => {
  const bundle = makeBundle({ command: kill, receipt: killed(observation(digest)) });

  it(
    'is verified offline with pinned keys, years later, down to who ordered',
    proves('FED-18', () => {
      const read = parseBundle(JSON.parse(JSON.stringify(bundle)));
      expect(verifyBundle(read, keys)).toMatchObject({ kind: 'killed', orderedBy: 'hub', commandBound: true });
    }),
  );

  it('does not say who ordered where their key is not pinned', () => {
    const instanceOnly = new KeyRing(keys.records().filter(({ owner }) => owner === 'quay'));
    expect(verifyBundle(parseBundle(bundle), instanceOnly)).toMatchObject({ commandBound: true, orderedBy: null });
  });

  it('refuses a command whose signature is forged, although its digest fits', () => {
    const forged: Envelope = { ...kill, signatures: kill.signatures.map((s) => ({ ...s, sig: new Uint8Array(64) })) };
    const read = parseBundle({ ...bundle, command: toBase64(encodeEnvelope(forged)) });
    expect(() => verifyBundle(read, keys)).toThrow(fault('signature-invalid'));
  });

  it("refuses a command that another's pinned key signed in the hub's name", () => {
    const generous = new KeyRing([...keys.records(), keyRecord('harbor', signer('stranger').publicKey, ['command'])]);
    const read = parseBundle({ ...bundle, command: toBase64(encodeEnvelope(command(KILL, undefined, 'stranger'))) });
    expect(() => verifyBundle(read, generous)).toThrow(fault('wrong-issuer'));
  });

  it.each([
    ['nothing', null],
    ['a string', 'bundle'],
    ['another kind', { ...bundle, kind: 'capstan.other' }],
    ['another version', { ...bundle, version: 2 }],
    ['no receipt', { ...bundle, receipt: null }],
    ['a receipt that is no base64', { ...bundle, receipt: '***' }],
    ['a receipt that is no envelope', { ...bundle, receipt: 'AAAA' }],
    ['a command that is no envelope', { ...bundle, command: 'AAAA' }],
  ])('is refused when it is %s', (_what, json) => {
    expect(() => parseBundle(json)).toThrow(expect.objectContaining({ name: 'LocalFault', code: 'bundle-malformed' }));
  });
});

describe('describeReceipt', () => {
  it('tells people what was observed dead, and how long after the order', () => {
    const lines = describeReceipt(verifyReceipt({ envelope: killed(observation(digest)), keys, command: kill })).join(
      '\n',
    );
    expect(lines).toContain('agent agent-1: observed dead 4 ms after the order');
    expect(lines).toContain('pid 4242 (started at tick 991337)');
    expect(lines).toContain('pid namespace 4026532177');
  });

  it('never calls dead what is unconfirmed', () => {
    const lines = describeReceipt(verifyReceipt({ envelope: killed(new Uint8Array(), KillOutcome.UNCONFIRMED), keys }));
    expect(lines).toContain('agent agent-1: death unconfirmed');
    expect(lines.join('\n')).not.toContain('dead');
  });

  it('prints nothing that moves the cursor or begins a line of its own', () => {
    const result = {
      case: 'refused',
      value: { code: 'policy-runtime', sentence: 'no\u001b[2J\nkilled: signed by quay' },
    } as const;
    const lines = describeReceipt(verifyReceipt({ envelope: receipt(digest, { result }), keys }));
    expect(lines).toContain('refused with policy-runtime: no[2J killed: signed by quay');
  });

  it('shows an agent that finished, with its branch', () => {
    const agent = {
      agentId: 'agent-1',
      state: AgentState.COMPLETED,
      harvest: { branch: 'capstan/task-1', commit: 'c0ffee', files: ['a', 'b'] },
    };
    const finished = receipt(digest, { result: { case: 'finished', value: agent } });
    expect(describeReceipt(verifyReceipt({ envelope: finished, keys }))).toEqual(
      expect.arrayContaining(['agent agent-1 is completed', 'branch capstan/task-1, commit c0ffee, 2 files']),
    );
  });
});
