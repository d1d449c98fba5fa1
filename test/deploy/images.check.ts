import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { HubClient } from '@capstan/localmesh';
import { proves } from '../support/proves.js';
import { git, TestRepository } from '../support/repository.js';
import { TestDocker } from '../support/test-docker.js';
import { until } from '../support/until.js';
import { Composed, docker, pinOf, policyFor } from './composed.js';

jest.setTimeout(1_800_000);

const ROOT = join(__dirname, '..', '..');
const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
const IMAGES = ['agent', 'hub', 'instance'];
const imageOf = (name: string): string => `capstan-${name}:${version}`;

let own: TestDocker | undefined;
let host = process.env['DOCKER_HOST'] ?? '';
beforeAll(async () => {
  if (host !== '') return;
  own = await TestDocker.start('--default-cgroupns-mode=host');
  host = `unix://${own.socketPath}`;
  const args = ['scripts/images.mjs', '--base', '--servers', '--network', 'host'];
  await promisify(execFile)(process.execPath, args, { cwd: ROOT, env: { ...process.env, DOCKER_HOST: host } });
});
afterAll(async () => {
  await own?.[Symbol.asyncDispose]();
});

/** Runs a shell's script in an image. */
const inside = (image: string, options: string[], script: string): Promise<string> =>
  docker(host, 'run', '--rm', ...options, '--entrypoint', 'sh', imageOf(image), '-c', script);
/** Secrets, and what names the registry or holds the certificates of the machine that built them. */
const LEFT = ['*npmrc', 'npm-certificates.pem', '.package-lock.json', '.env*', '*.deb', 'id_*'];
const CONFINED = ['--network', 'none', '--read-only', '--cap-drop', 'ALL', '--security-opt', 'no-new-privileges'];

describe.each(IMAGES)('the image of deploy/%s', (name) => {
  it(
    'has no package for which Debian has an update, security ones included',
    proves('ORC-119', async () => {
      const script = 'apt-get update > /dev/null && apt-get --simulate upgrade && apt-cache policy base-files';
      const said = await inside(name, ['--user', '0:0', '--network', 'host'], script);
      expect(said).toMatch(/^0 upgraded, .* 0 not upgraded\.$/m);
      expect(said).not.toMatch(/^Inst /m);
      // It did ask somebody.
      expect(said).toMatch(/^\s+500 \S+ bookworm/m);
    }),
  );

  it(
    'runs as nobody special, and holds nothing that gives rights, that others may change, or that only builds need',
    proves('ORC-119', async () => {
      expect(Number(await inside(name, CONFINED, 'id -u'))).toBeGreaterThan(0);
      const find = (what: string): Promise<string> =>
        inside(
          name,
          ['--user', '0:0', ...CONFINED],
          `find / -xdev -type f ${what} -not -path '/proc/*' 2> /dev/null || true`,
        );
      expect(await find('-perm /6000')).toBe('');
      expect(await find('-perm /0002')).toBe('');
      expect(await find(`\\( ${LEFT.map((each) => `-name '${each}'`).join(' -o ')} \\)`)).toBe('');
      const tools =
        'ls /app/node_modules/typescript /app/node_modules/jest /app/node_modules/node 2> /dev/null; command -v npm npx; true';
      expect(await inside(name, CONFINED, tools)).toBe('');
    }),
  );
});

describe('deploy/compose.yaml with these images', () => {
  const repository = new TestRepository();
  const all = new AsyncDisposableStack();
  let composed: Composed;
  let hub: HubClient;

  beforeAll(async () => {
    all.use(repository);
    composed = all.use(new Composed(host, host.replace('unix://', '')));
    await composed.prepare();
    await composed.compose('hub', 'up', '--detach', '--no-build');
    await composed.healthy('hub');
    const { NetworkSettings } = await composed.inspect('hub');
    const port = NetworkSettings.Ports['7400/tcp']?.[0]?.HostPort ?? '';
    const token = await composed.compose('hub', 'exec', '-T', 'hub', 'cat', '/var/lib/capstan/hub/admin.token');
    const certificate = await composed.compose('hub', 'exec', '-T', 'hub', 'cat', '/var/lib/capstan/hub/tls/cert.pem');
    hub = new HubClient(`https://127.0.0.1:${port}`, token.trim(), pinOf(certificate));
    const { invite } = await hub.invite({ autoApprove: true });
    const join = ['run', '--rm', '--no-deps', 'spoke', 'node', 'dist/apps/spoke/src/join.js'];
    await composed.compose('instance', ...join, composed.instanceDir, invite, 'quay');
    git(composed.instanceDir, 'clone', '--quiet', '--bare', repository.path, 'remote.git');
    writeFileSync(`${composed.instanceDir}/policy.yaml`, policyFor(`${composed.instanceDir}/remote.git`));
    await composed.compose('instance', 'up', '--detach', '--no-build');
  });
  afterAll(async () => {
    await all.disposeAsync();
  });

  const spawn = async (playbook: string): Promise<string> => {
    const context = { repository: `${composed.instanceDir}/remote.git`, workItems: ['Map this repository.'] };
    const order = { instance: 'quay', agentType: 'worker', context, options: { playbook } } as const;
    return (await until('it is ordered', () => hub.spawn(order).catch(() => undefined), 60_000)).agentId;
  };
  const state = (agentId: string, wanted: string): Promise<unknown> =>
    until(`it is ${wanted}`, async () => (await hub.agent(agentId).catch(() => undefined))?.state === wanted, 180_000);

  it.each(['postgres', 'hub', 'valkey', 'reaper', 'orchestrator', 'spoke'])(
    'has %s healthy, read-only, without capabilities but those that it is given',
    (service) =>
      proves(['ORC-103', 'ORC-119'], async () => {
        await composed.healthy(service);
        const { HostConfig } = await composed.inspect(service);
        expect(HostConfig).toMatchObject({ ReadonlyRootfs: true, CapDrop: ['ALL'], PidsLimit: 512 });
        expect(HostConfig.SecurityOpt).toContain('no-new-privileges:true');
      })(),
  );

  it(
    'takes an agent from order to commit, in the image of agents',
    proves(['ORC-103', 'ORC-106'], async () => {
      const agentId = await spawn('repository-map');
      await state(agentId, 'completed');
      expect((await hub.agent(agentId)).harvest).toMatchObject({ pushed: true, files: ['docs/REPOSITORY-MAP.md'] });
    }),
  );

  it(
    'kills an agent, and proves it',
    proves(['ORC-103', 'ORC-106'], async () => {
      const agentId = await spawn('long-run');
      await state(agentId, 'running');
      const label = `label=capstan.agent=${agentId}`;
      const running = await docker(host, 'ps', '--filter', label, '--format', '{{.Image}}');
      expect(running.trim()).toBe(imageOf('agent'));
      expect(await hub.kill(agentId, { reason: 'check', waitMs: 20_000 })).toMatchObject({ outcome: 'killed' });
      await state(agentId, 'killed');
      await until('its container is removed', async () => {
        return (await docker(host, 'ps', '--all', '--quiet', '--filter', label)) === '';
      });
    }),
  );

  it.each(['spoke', 'orchestrator', 'reaper', 'hub'])('stops %s by SIGTERM, in order', async (service) => {
    await composed.compose('hub', '--profile', 'instance', 'stop', '--timeout', '60', service);
    const { State } = await composed.inspect(service);
    expect(State).toMatchObject({ Status: 'exited', OOMKilled: false });
    // An exit code would not tell: a process that hears no signal ends with the same.
    expect(await composed.log(service)).toMatch(/"(?:msg":"stopped|event":"reaper-stopped)"/);
  });
});
