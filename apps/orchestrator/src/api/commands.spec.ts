import { rm, writeFile } from 'node:fs/promises';
import { keyRecord, SigningKey } from '@capstan/identity';
import { AgentRole, Direction, newId, toBase64 } from '@capstan/protocol';
import { TestApi } from '../../test/test-api.js';
import { HUB, type TestInstance } from '../../test/test-instance.js';

describe('the API of signed commands', () => {
  let api: TestApi;
  beforeAll(async () => (api = await TestApi.start()));
  afterAll(() => api[Symbol.asyncDispose]());

  it('takes a signed spawn once, however often it is offered', async () => {
    const bytes = api.instance.signedSpawn({ options: { priority: 9 } });
    const before = await api.queue.counts();
    const answers = await Promise.all(Array.from({ length: 8 }, () => api.command(bytes)));
    expect(answers.map((answer) => answer.status)).toEqual(Array.from({ length: 8 }, () => 202));
    expect(new Set(answers.map((answer) => answer.body.agentId)).size).toBe(1);
    expect(answers[0]?.body).toMatchObject({ state: 'queued', revision: 1 });
    expect((await api.queue.counts()).pending).toBe(before.pending + 1);
  });

  it('refuses another order with the id of an agent that exists', async () => {
    const id = newId();
    await api.command(api.instance.signedSpawn({ agentId: id }));
    const { status, body } = await api.command(api.instance.signedSpawn({ agentId: id }));
    expect([status, body.code]).toEqual([409, 'agent-exists']);
  });

  it('takes an order that expired while the orchestrator was away, but none that is older than its records', async () => {
    const late = api.instance.signedSpawn({}, { nowMs: Date.now() - 3_600_000 });
    expect((await api.command(late)).status).toBe(202);
    const old = api.instance.signedSpawn({}, { nowMs: Date.now() - 31 * 86_400_000 });
    expect((await api.command(old)).body.code).toBe('expired');
  });

  const stranger = SigningKey.generate();
  it.each<[string, (instance: TestInstance) => Uint8Array, string]>([
    ['of an unknown key', (it) => it.signedSpawn({}, {}, stranger), 'key-unknown'],
    ['for another instance', (it) => it.signedSpawn({}, { audience: 'quay' }), 'wrong-audience'],
    [
      'that travels the other way',
      (it) => it.signedSpawn({}, { direction: Direction.SPOKE_TO_HUB }),
      'wrong-direction',
    ],
    ['of an issuer who does not own the key', (it) => it.signedSpawn({}, { issuer: 'another-hub' }), 'wrong-issuer'],
    ['without a role', (it) => it.signedSpawn({ role: AgentRole.UNSPECIFIED }), 'payload-malformed'],
    ['with a priority that is none', (it) => it.signedSpawn({ options: { priority: 11 } }), 'payload-malformed'],
    ['with a task id that is none', (it) => it.signedSpawn({ taskId: '../../etc' }), 'id-malformed'],
    ['of a runtime that is not allowed', (it) => it.signedSpawn({ runtime: 'command' }), 'policy-runtime'],
    ['that is cut off', (it) => it.signedSpawn().subarray(0, 100), 'envelope-malformed'],
    ['that was changed', (it) => changed(it.signedSpawn()), 'signature-invalid'],
  ])('verifies again: refuses a spawn %s', async (_, bytes, code) => {
    const before = await api.store.live();
    expect((await api.command(bytes(api.instance))).body.code).toBe(code);
    expect(await api.store.live()).toEqual(before);
  });

  it('refuses what is no base64, and what is larger than an envelope', async () => {
    expect((await api.call('POST', '/commands', { envelope: '?' })).status).toBe(400);
    expect((await api.call('POST', '/commands', {})).body).toMatchObject({
      code: 'validation',
      errors: [{ field: 'envelope' }, {}, {}],
    });
    const large = await api.call('POST', '/commands', { envelope: toBase64(new Uint8Array(1024 * 1024 + 3)) });
    expect([large.status, large.body['code']]).toEqual([413, 'envelope-too-large']);
    const larger = await api.call('POST', '/commands', { envelope: 'A'.repeat(4 * 1024 * 1024) });
    expect(larger.status).toBe(413);
  });

  it('reads policy and trust again when their owner changes them', async () => {
    await api.instance.writePolicy({ repositories: ['/other/*'] });
    expect((await api.command(api.instance.signedSpawn())).body.code).toBe('policy-repository');
    await api.instance.writePolicy({});
    expect((await api.command(api.instance.signedSpawn())).status).toBe(202);
    await rm(api.instance.paths.trust);
    expect((await api.command(api.instance.signedSpawn())).status).toBe(500);
    const keys = [keyRecord(HUB, api.instance.hubKey.publicKey, ['link'])];
    await writeFile(api.instance.paths.trust, JSON.stringify({ version: 1, keys: keys.map(keyJson) }));
    expect((await api.command(api.instance.signedSpawn())).body.code).toBe('key-purpose');
  });
});

function keyJson(record: ReturnType<typeof keyRecord>): Record<string, unknown> {
  return { ...record, publicKey: Buffer.from(record.publicKey).toString('hex') };
}

function changed(bytes: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(bytes);
  // A byte of the work item's text, inside the signed payload.
  const at = Buffer.from(copy).indexOf('Do it.');
  copy[at] = 'd'.charCodeAt(0);
  return copy;
}
