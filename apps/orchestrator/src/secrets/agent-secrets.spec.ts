import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { newId, toBase64 } from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { TestApi, type Answer } from '../../test/test-api.js';
import { AgentLog } from '../monitor/agent-log.js';

const CANARY = 'canary-0b7f2e-of-the-orchestrator';

describe('secrets of agents', () => {
  let api: TestApi;
  beforeAll(async () => {
    api = await TestApi.start();
    await api.instance.writePolicy({ secrets: ['DEPLOY_TOKEN'] });
  });
  afterAll(() => api[Symbol.asyncDispose]());

  /** Hands over a spawn that carries so many sealed secrets, with these in clear. */
  function take(sealed: number, secrets: { name: string; value: string }[], agentId = newId()): Promise<Answer> {
    const bytes = api.instance.signedSpawn({
      agentId,
      secrets: Array.from({ length: sealed }, () => Uint8Array.of(1)),
    });
    return api.call('POST', '/commands', { envelope: toBase64(bytes), secrets });
  }

  it(
    'are kept in memory only: the store knows their names',
    proves('FED-16', async () => {
      const agentId = newId();
      const { status } = await take(1, [{ name: 'DEPLOY_TOKEN', value: CANARY }], agentId);
      expect(status).toBe(202);
      const { directory } = api.instance;
      const files = await readdir(directory, { recursive: true, withFileTypes: true });
      const kept = files.filter((file) => file.isFile()).map((file) => join(file.parentPath, file.name));
      const contents = await Promise.all(kept.map(async (file) => (await readFile(file)).toString('latin1')));
      expect(contents.join('\n')).toContain(agentId);
      expect(contents.join('\n')).toContain('DEPLOY_TOKEN');
      expect(contents.join('\n')).not.toContain(CANARY);
    }),
  );

  it.each<[string, number, string[], string]>([
    ['that the owner does not allow', 1, ['OTHER_TOKEN'], 'policy-secret'],
    ['that steer programs', 1, ['LD_PRELOAD'], 'policy-secret'],
    ['that the signed spawn does not bring', 0, ['DEPLOY_TOKEN'], 'secret-unreadable'],
    ['that are missing', 1, [], 'secret-unreadable'],
  ])('are refused where a spoke hands over some %s', (_, sealed, names, code) =>
    proves('FED-16', async () => {
      const secrets = names.map((name) => ({ name, value: CANARY }));
      expect((await take(sealed, secrets)).body['code']).toBe(code);
    })(),
  );

  it('are asked for by nobody who waits for none', async () => {
    expect((await api.call('GET', '/secrets/wanted')).body).toEqual({ agentIds: [] });
  });
});

describe('the log of an agent with secrets', () => {
  it('shows their names in their place', async () => {
    const log = await AgentLog.open('/dev/null');
    log.hide({ DEPLOY_TOKEN: CANARY, KEY: 'first line of a key\nsecond line of a key\n', SHORT: 'abc' });
    log.append('tool', `token=${CANARY};${CANARY}\nsecond line of a key\nabc`);
    expect(log.page(0, 10).lines.map(({ text }) => text)).toEqual([
      'token=[DEPLOY_TOKEN];[DEPLOY_TOKEN]',
      '[KEY]',
      'abc',
    ]);
  });
});
