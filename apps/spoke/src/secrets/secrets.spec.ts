import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type SealInit, sealSecret, SigningKey } from '@capstan/identity';
import { encodeEnvelope, type Envelope, newId } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { answerTo, Person, pinOperator, route } from '../../test/granted.js';
import { until } from '../../test/processes.js';
import { TestInstance } from '../../test/test-instance.js';

jest.setTimeout(60_000);
const CANARY = 'canary-5e1d7c-of-the-spoke';

describe('secrets of a spawn', () => {
  const ada = new Person('op-ada');
  let instance: TestInstance;

  beforeAll(async () => {
    instance = await TestInstance.start();
    await pinOperator(instance, ada, 'secrets: [DEPLOY_TOKEN, OTHER_TOKEN]\n');
  });
  afterAll(() => instance[Symbol.asyncDispose]());

  function seal(agentId: string, over: Partial<SealInit> = {}): Uint8Array {
    const init = { recipient: instance.sealingKey, issuer: ada.id, sender: ada.key, audience: 'harbor', agentId };
    const value = new TextEncoder().encode(CANARY);
    return encodeEnvelope(sealSecret({ ...init, name: 'DEPLOY_TOKEN', value, lifetimeMs: 60_000, ...over }));
  }

  /** A spawn with secrets, and what the instance says to it. */
  async function spawn(over: Partial<SealInit>[] = [{}], agentId = `agent-${newId()}`): Promise<[string, string]> {
    const secrets = over.map((each) => seal(agentId, each));
    return [agentId, await answerTo(instance, await route(instance, ada.spawn([], { agentId, secrets }), ada))];
  }

  it(
    'are opened by the spoke, handed to the orchestrator, and nowhere in clear',
    proves('FED-16', async () => {
      const [agentId, answer] = await spawn([{}, { name: 'OTHER_TOKEN' }]);
      expect(answer).toBe('spawned');
      expect(instance.orchestrator.secrets.get(agentId)).toEqual([
        { name: 'DEPLOY_TOKEN', value: CANARY },
        { name: 'OTHER_TOKEN', value: CANARY },
      ]);
      const files = await readdir(instance.dir, { recursive: true, withFileTypes: true });
      const kept = files.filter((file) => file.isFile()).map((file) => join(file.parentPath, file.name));
      // The ledger has the command, in Valkey's append-only file.
      const contents = await Promise.all(kept.map(async (file) => readFile(file)));
      expect(contents.some((content) => content.includes(agentId))).toBe(true);
      expect(kept.filter((_, at) => contents[at]?.includes(CANARY))).toEqual([]);
      expect(instance.spoke.output).not.toContain(CANARY);
    }),
  );

  it(
    'are refused where they are for another agent, under a name that the owner does not allow, or nobody’s own',
    proves('FED-16', async () => {
      expect((await spawn([{ agentId: 'another' }]))[1]).toBe('refused: secret-unreadable');
      expect((await spawn([{ name: 'UNKNOWN_TOKEN' }]))[1]).toBe('refused: policy-secret');
      expect((await spawn([{}, {}]))[1]).toBe('refused: secret-unreadable');
      expect((await spawn([{ nowMs: Date.now() - 61_000 }]))[1]).toBe('refused: expired');
      const stranger = SigningKey.generate();
      expect((await spawn([{ sender: stranger }]))[1]).toBe('refused: secret-unreadable');
    }),
  );

  it(
    'are taken from whoever signed the spawn: a hub cannot put an operator’s into an agent of its own',
    proves('FED-16', async () => {
      const agentId = `agent-${newId()}`;
      const stolen: Envelope = instance.spawn({ agentId, secrets: [seal(agentId)] });
      expect(await answerTo(instance, await instance.hub.send(stolen))).toBe('refused: secret-unreadable');
    }),
  );

  it('are handed over again where the orchestrator has lost them', async () => {
    const [agentId] = await spawn();
    instance.orchestrator.secrets.delete(agentId);
    instance.orchestrator.wanted = [agentId];
    const again = await until(() => instance.orchestrator.secrets.get(agentId), 'the secrets again');
    expect(again).toEqual([{ name: 'DEPLOY_TOKEN', value: CANARY }]);
    instance.orchestrator.wanted = [];
  });
});
