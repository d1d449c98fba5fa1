import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { proves } from '../../../../test/support/proves.js';
import { FreshFile } from './fresh-file.js';
import { loadSettings } from './settings.js';

const env = {
  CAPSTAN_INSTANCE_DIR: '/srv/harbor',
  CAPSTAN_RUNTIME_DIR: '/srv/runtime',
  CAPSTAN_VALKEY_URL: 'unix:///srv/valkey.sock',
};

describe('the configuration', () => {
  it(
    'comes from the environment, with the second names where the first are not set',
    proves('ORC-102', () => {
      expect(loadSettings(env)).toMatchObject({
        valkeyUrl: 'unix:///srv/valkey.sock',
        listen: { path: '/srv/harbor/run/orchestrator.sock' },
        provider: { name: 'scripted' },
      });
      const second = loadSettings({
        ...env,
        CAPSTAN_VALKEY_URL: undefined,
        VALKEY_URL: 'redis://localhost:6379',
        CLAUDE_API_KEY: 'sk-2',
        CAPSTAN_ORCHESTRATOR_LISTEN: '3001',
        COORDINATOR_URL: 'http://localhost:3002',
      });
      expect(second).toMatchObject({
        valkeyUrl: 'redis://localhost:6379',
        listen: { host: '127.0.0.1', port: 3001 },
        provider: { name: 'anthropic', apiKey: 'sk-2' },
        coordinatorUrl: 'http://localhost:3002',
      });
      const key = loadSettings({ ...env, ANTHROPIC_API_KEY: 'sk-1', CLAUDE_API_KEY: 'sk-2' });
      expect(key.provider).toMatchObject({ apiKey: 'sk-1' });
    }),
  );

  it(
    'runs agents in Docker where that is said, in the image that its owner names',
    proves('ORC-106', () => {
      const docker = (more: Record<string, string>) => loadSettings({ ...env, ...more }).docker;
      const told = { CAPSTAN_SANDBOX: 'docker', CAPSTAN_DOCKER_SOCKET: '/srv/docker.sock' };
      expect(docker({ CAPSTAN_AGENT_IMAGE: 'agents:1' })).toBeUndefined();
      expect(docker({ ...told, CAPSTAN_AGENT_IMAGE: 'agents:1' })).toEqual({
        socketPath: '/srv/docker.sock',
        image: 'agents:1',
      });
      expect(docker({ ...told, CAPSTAN_AGENT_IMAGE: '' })).toEqual({ socketPath: '/srv/docker.sock' });
    }),
  );

  it('names every fault at once', () => {
    const faults = () =>
      loadSettings({ CAPSTAN_INSTANCE_DIR: 'here', CAPSTAN_KEEP_DAYS: '0', CAPSTAN_MODEL_PROVIDER: 'other' });
    expect(faults).toThrow(/CAPSTAN_INSTANCE_DIR.*CAPSTAN_MODEL_PROVIDER.*CAPSTAN_RUNTIME_DIR.*CAPSTAN_KEEP_DAYS/s);
  });

  it('does not begin without Valkey, or with a model that has no key', () => {
    const broken = { ...env, CAPSTAN_VALKEY_URL: '', CAPSTAN_MODEL_PROVIDER: 'anthropic' };
    expect(() => loadSettings(broken)).toThrow(/VALKEY_URL.*ANTHROPIC_API_KEY/s);
  });

  it(
    'chooses by role who is answered by the model',
    proves('ORC-L4', () => {
      const keyed = { ...env, ANTHROPIC_API_KEY: 'sk-1' };
      const rolesOf = (more: Record<string, string>) => {
        const { provider, scriptedRoles } = loadSettings({ ...keyed, ...more });
        return [provider.name, ...scriptedRoles];
      };
      const hybrid = { CAPSTAN_EXECUTION_MODE: 'hybrid' };
      expect(rolesOf({ CAPSTAN_EXECUTION_MODE: 'deterministic' })).toEqual(['scripted']);
      expect(rolesOf({ CAPSTAN_EXECUTION_MODE: 'claude' })).toEqual(['anthropic']);
      expect(rolesOf(hybrid)).toEqual(['anthropic']);
      expect(rolesOf({ ...hybrid, CAPSTAN_CLAUDE_ROLES: 'worker,tester' })).toEqual(['anthropic', 'reviewer']);
      expect(rolesOf({ ...hybrid, CAPSTAN_CLAUDE_EXCLUDED_ROLES: 'tester' })).toEqual(['anthropic', 'tester']);
      const both = { CAPSTAN_CLAUDE_ROLES: 'worker,tester', CAPSTAN_CLAUDE_EXCLUDED_ROLES: 'tester' };
      expect(rolesOf({ ...hybrid, ...both })).toEqual(['anthropic', 'reviewer', 'tester']);
      expect(() => rolesOf({ CAPSTAN_CLAUDE_ROLES: 'worker' })).toThrow(/need CAPSTAN_EXECUTION_MODE=hybrid/);
      expect(() => rolesOf({ ...hybrid, CAPSTAN_CLAUDE_ROLES: 'captain' })).toThrow(
        /CAPSTAN_CLAUDE_ROLES must be roles/,
      );
      expect(() => loadSettings({ ...env, ...hybrid })).toThrow(
        /CAPSTAN_EXECUTION_MODE=hybrid needs ANTHROPIC_API_KEY/,
      );
      const against = { CAPSTAN_EXECUTION_MODE: 'claude', CAPSTAN_MODEL_PROVIDER: 'scripted' };
      expect(() => rolesOf(against)).toThrow(/CAPSTAN_EXECUTION_MODE=claude contradicts/);
    }),
  );

  it('does not send the model key over a network in the clear', () => {
    const at = (url: string) => () => loadSettings({ ...env, ANTHROPIC_API_KEY: 'sk-1', CAPSTAN_ANTHROPIC_URL: url });
    for (const url of ['http://model.example.org', 'http://10.0.0.1:80/v', 'http://127.0.0.1.example.org'])
      expect(at(url)).toThrow(/CAPSTAN_ANTHROPIC_URL must be https/);
    for (const url of ['https://model.example.org', 'http://127.0.0.1:4000', 'http://localhost', 'http://[::1]:1'])
      expect(at(url)).not.toThrow();
  });
});

describe("the instance's files", () => {
  let directory: string;
  beforeEach(async () => (directory = await mkdtemp(join(tmpdir(), 'capstan-config-'))));
  afterEach(() => rm(directory, { recursive: true, force: true }));

  it('are read again only when they change, and a failure is not remembered', async () => {
    const file = join(directory, 'file');
    let reads = 0;
    const fresh = new FreshFile(file, async (path) => {
      reads += 1;
      return readFile(path, 'utf8');
    });
    await expect(fresh.read()).rejects.toThrow('ENOENT');
    await writeFile(file, 'one');
    expect([await fresh.read(), await fresh.read()]).toEqual(['one', 'one']);
    await writeFile(file, 'three');
    expect(await fresh.read()).toBe('three');
    expect(reads).toBe(3);
  });
});
