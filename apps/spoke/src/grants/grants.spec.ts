import { encodeEnvelope, type Envelope, newId } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { answerTo, Person, pinOperator, route } from '../../test/granted.js';
import { TestInstance } from '../../test/test-instance.js';

jest.setTimeout(60_000);

describe('a command under grants', () => {
  const ada = new Person('op-ada');
  const ci = new Person('op-ci');
  const nightly = new Person('op-nightly');
  let instance: TestInstance;

  beforeAll(async () => {
    instance = await TestInstance.start();
    await pinOperator(instance, ada, 'demandOperatorSignature: [spawn]\n');
  });
  afterAll(() => instance[Symbol.asyncDispose]());

  const say = async (command: Envelope, by: Person): Promise<string> =>
    answerTo(instance, await route(instance, command, by));

  it(
    'is taken from somebody who is pinned nowhere, for a pinned operator has granted it',
    proves('FED-14', async () => {
      expect(await say(ci.spawn([ada.grants(ci)]), ci)).toBe('spawned');
    }),
  );

  it('is taken from the hub too, where an operator’s signature is demanded', async () => {
    const toHub = ada.grants({ id: 'hub', key: instance.hub.key }, { repositories: ['*'] });
    expect(await answerTo(instance, await instance.hub.send(instance.spawn()))).toBe('refused: policy-operator');
    const granted = instance.spawn({}, { grantChain: [encodeEnvelope(toHub)] });
    expect(await answerTo(instance, await instance.hub.send(granted))).toBe('spawned');
  });

  it(
    'is refused without them, and where they do not cover it',
    proves('FED-14', async () => {
      expect(await say(ci.spawn(), ci)).toBe('key-unknown');
      expect(await say(ci.spawn([ada.grants(ci, { instances: ['quay'] })]), ci)).toBe('grant-exceeded');
      expect(await say(nightly.spawn([ada.grants(ci)]), nightly)).toBe('grant-exceeded');
      expect(await say(ci.spawn([ci.grants(nightly)]), ci)).toBe('grant-invalid');
      const first = ada.grants(ci);
      const spliced = ci.grants(nightly, { parent: ada.grants(ci), depth: 1 });
      expect(await say(nightly.spawn([first, spliced]), nightly)).toBe('grant-invalid');
      const wider = ci.grants(nightly, { parent: first, depth: 1, budgetMicroUsd: 2_500_001n });
      expect(await say(nightly.spawn([first, wider]), nightly)).toBe('grant-widened');
    }),
  );

  it(
    'is refused once a grant has expired; what was taken before is still answered',
    proves('FED-14', async () => {
      const past = { nowMs: Date.now() - 10_000, lifetimeMs: 9_000 };
      expect(await say(ci.spawn([ada.grants(ci, past)]), ci)).toBe('expired');
    }),
  );

  it(
    'spends from every grant of its chain, once, and no more than is there',
    proves('FED-14', async () => {
      const first = ada.grants(ci);
      const second = ci.grants(nightly, { parent: first, depth: 1, budgetMicroUsd: 1_500_000n });
      const spawn = nightly.spawn([first, second]);
      expect(await say(spawn, nightly)).toBe('spawned');
      // The same again is the same.
      expect(await say(spawn, nightly)).toBe('spawned');
      // A spawn that names no budget has the owner's, 1,000,000: no second one fits under the second grant.
      expect(await say(nightly.spawn([first, second]), nightly)).toBe('refused: grant-exceeded');
      expect(await say(nightly.spawn([first, second], { options: { budgetMicroUsd: 500_000n } }), nightly)).toBe(
        'spawned',
      );
      // 1,500,000 of the first grant's 2,500,000 are spent: one more of ci's own fits.
      expect(await say(ci.spawn([first]), ci)).toBe('spawned');
      expect(await say(ci.spawn([first], { options: { budgetMicroUsd: 1n } }), ci)).toBe('refused: grant-exceeded');
    }),
  );

  it('gets back what was set aside for a spawn that was refused', async () => {
    const grant = ada.grants(ci, { budgetMicroUsd: 1_000_000n });
    const agentId = `agent-${newId()}`;
    expect(await say(ada.spawn([], { agentId }), ada)).toBe('spawned');
    expect(await say(ci.spawn([grant], { agentId }), ci)).toBe('refused: agent-exists');
    expect(await say(ci.spawn([grant]), ci)).toBe('spawned');
  });

  it('reaches no agent that is known to be of another tenant', async () => {
    const agentId = `agent-${newId()}`;
    expect(await say(ada.spawn([], { agentId }), ada)).toBe('spawned');
    const grant = ada.grants(ci, { tenants: ['other'] });
    const change = { tenant: 'other' };
    for (const body of [
      { case: 'kill' as const, value: { agentId } },
      { case: 'status' as const, value: { agentId } },
    ]) {
      const command = ci.command(body, [grant], change);
      expect(await answerTo(instance, await route(instance, command, ci, 'other'))).toBe('grant-exceeded');
    }
  });

  it('kills, whatever the clock says of its grants', async () => {
    const agentId = `agent-${newId()}`;
    const past = ada.grants(ci, { nowMs: Date.now() - 10_000, lifetimeMs: 9_000 });
    expect(await say(ci.command({ case: 'kill', value: { agentId } }, [past]), ci)).toBe('killed');
    const noKill = ada.grants(ci, { verbs: ['agent.spawn'] });
    expect(await say(ci.command({ case: 'kill', value: { agentId } }, [noKill]), ci)).toBe('grant-exceeded');
  });
});
