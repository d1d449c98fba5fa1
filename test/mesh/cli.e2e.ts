import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { HubClient, Mesh } from '@capstan/localmesh';
import { proves } from '../support/proves.js';
import { TestRepository } from '../support/repository.js';

jest.setTimeout(90_000);

const run = promisify(execFile);
const CLI = join(process.cwd(), 'dist/apps/cli/src/main.js');

describe('the command line beside a mesh that runs', () => {
  const repository = new TestRepository();
  const files = mkdtempSync(join(tmpdir(), 'capstan-cli-'));
  let mesh: Mesh;

  beforeAll(async () => {
    mesh = await Mesh.start({ instances: ['quay'], repository: repository.path });
  });
  afterAll(async () => {
    await mesh.stop();
    repository[Symbol.dispose]();
    rmSync(files, { recursive: true, force: true });
  });

  /** Runs `capstan … --json` and returns its exit code and its one object. */
  async function capstan(...args: string[]): Promise<{ code: number; answer: Record<string, unknown> }> {
    const env = { ...process.env, CAPSTAN_CONTEXT: mesh.contextFile };
    try {
      const { stdout } = await run(process.execPath, [CLI, ...args, '--json'], { env });
      return { code: 0, answer: JSON.parse(stdout) as Record<string, unknown> };
    } catch (error) {
      const { code, stdout } = error as { code: number; stdout: string };
      return { code, answer: JSON.parse(stdout) as Record<string, unknown> };
    }
  }

  it(
    'spawns, follows, lists, kills, and keeps receipts that verify offline',
    proves(['CLI-01', 'FED-18'], async () => {
      expect(await capstan('status')).toMatchObject({
        code: 0,
        answer: { kind: 'capstan.status', instances: [{ id: 'quay', online: true }] },
      });
      const remote = mesh.repository?.path ?? '';
      const mapped = await capstan(
        'agents',
        'spawn',
        'quay',
        '--repo',
        remote,
        '--item',
        'Map it.',
        '--playbook',
        'repository-map',
        '--wait',
      );
      expect(mapped).toMatchObject({ code: 0, answer: { agent: { state: 'completed', harvest: { pushed: true } } } });

      const long = await capstan(
        'agents',
        'spawn',
        'quay',
        '--repo',
        remote,
        '--item',
        'Wait.',
        '--playbook',
        'long-run',
      );
      const id = String(long.answer['agentId']);
      const kept = join(files, 'killed.json');
      expect(await capstan('agents', 'kill', id, '--reason', 'a test', '--save', kept)).toMatchObject({
        code: 0,
        answer: { confirmed: true },
      });
      expect(await capstan('verify', kept)).toMatchObject({
        code: 0,
        answer: { receipt: { kind: 'killed', agentId: id, issuer: 'quay', orderedBy: 'hub' } },
      });
      const tampered = join(files, 'tampered.json');
      writeFileSync(tampered, readFileSync(kept, 'utf8').replace(/"receipt": "(.{40})./, '"receipt": "$1!'));
      expect((await capstan('verify', tampered)).code).toBe(1);

      const status = join(files, 'status.json');
      expect(await capstan('agents', 'status', id, '--save', status)).toMatchObject({
        code: 0,
        answer: { agent: { state: 'killed' }, receipt: { verified: true } },
      });
      expect((await capstan('verify', status)).code).toBe(0);
      expect((await capstan('agents', 'logs', (mapped.answer['agent'] as { agentId: string }).agentId)).code).toBe(0);
      expect(((await capstan('agents', 'ls')).answer['agents'] as unknown[]).length).toBe(2);
    }),
  );

  it(
    'says what is wrong, with the documented exit code',
    proves('CLI-01', async () => {
      const order = ['--repo', mesh.repository?.path ?? '', '--item', 'x'];
      expect(await capstan('agents', 'spawn', 'nowhere', ...order)).toMatchObject({
        code: 3,
        answer: { error: { code: 'instance-unknown' } },
      });
      expect(await capstan('agents', 'spawn', 'quay', ...order, '--runtime', 'abacus', '--wait')).toMatchObject({
        code: 4,
        answer: { error: { code: 'policy-runtime' } },
      });
      expect(await capstan('agents', 'spawn', 'quay', '--repo', '/etc', '--item', 'x', '--wait')).toMatchObject({
        code: 4,
        answer: { error: { code: 'policy-repository' } },
      });
      expect((await capstan('agents', 'status', 'no-such-agent')).code).toBe(3);
    }),
  );

  it('makes invitations that enrol a further instance', async () => {
    const { answer } = await capstan('spoke', 'invite', '--ttl', '60');
    const dir = join(mesh.stateDir, 'instances', 'pier');
    const joined = await capstan('spoke', 'join', String(answer['invite']), '--dir', dir);
    expect(joined).toMatchObject({ code: 0, answer: { instance: 'pier' } });
    const listed = await capstan('spoke', 'ls');
    const connections = listed.answer['connections'] as { id: string; instanceId: string; state: string }[];
    const pier = connections.find(({ instanceId }) => instanceId === 'pier');
    expect(pier?.state).toBe('PENDING');
    expect((await capstan('spoke', 'approve', pier?.id ?? '')).code).toBe(0);
    expect(
      (await capstan('spoke', 'join', String(answer['invite']), '--dir', join(mesh.stateDir, 'instances', 'pier-2')))
        .code,
    ).not.toBe(0);
  });

  it(
    'makes a token into a file of its own, lists names, and takes the token back',
    proves('CLI-01', async () => {
      const file = join(mesh.stateDir, 'alice.token');
      const made = await capstan('auth', 'token', 'create', 'alice', '--out', file);
      expect(made).toMatchObject({ code: 0, answer: { kind: 'capstan.token', name: 'alice', savedTo: file } });
      expect(made.answer).not.toHaveProperty('token');
      expect(statSync(file).mode & 0o777).toBe(0o600);
      const alice = new HubClient(mesh.hub.url, readFileSync(file, 'utf8').trim());
      expect((await alice.tokens()).map(({ name }) => name)).toEqual(['admin', 'alice']);
      const listed = await capstan('auth', 'token', 'ls');
      expect(listed).toMatchObject({ code: 0, answer: { tokens: await alice.tokens() } });
      const other = join(mesh.stateDir, 'other.token');
      expect(await capstan('auth', 'token', 'create', 'alice', '--out', other)).toMatchObject({ code: 5 });
      expect(existsSync(other)).toBe(false);
      expect(await capstan('auth', 'token', 'create', 'bob', '--out', file)).toMatchObject({ code: 5 });
      expect(await capstan('auth', 'token', 'revoke', 'alice')).toMatchObject({ code: 0, answer: { revoked: true } });
      await expect(alice.tokens()).rejects.toMatchObject({ status: 401 });
      expect(await capstan('auth', 'token', 'revoke', 'alice')).toMatchObject({ code: 3 });
      expect(await capstan('auth', 'token', 'revoke', 'admin')).toMatchObject({ code: 4 });
    }),
  );
});

describe('a second start', () => {
  it(
    'beside a running one says so, and harms neither',
    proves('OPS-01', async () => {
      await using first = await Mesh.start({ instances: ['quay'] });
      await expect(Mesh.start({ instances: ['quay'], stateDir: first.stateDir })).rejects.toMatchObject({
        code: 'already-running',
      });
      const up = run(process.execPath, [CLI, 'up', '--state', first.stateDir, '--port', '0', '--json']);
      await expect(up).rejects.toMatchObject({ code: 5, stdout: expect.stringContaining('already-running') as string });
      expect((await first.client.connections()).map(({ online }) => online)).toEqual([true]);
    }),
  );

  it(
    'with a port that is in use says which, and leaves nothing running',
    proves('OPS-01', async () => {
      const taken = createServer();
      await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
      const { port } = taken.address() as AddressInfo;
      await expect(Mesh.start({ hubPort: port })).rejects.toMatchObject({
        code: 'port-in-use',
        sentence: expect.stringContaining(String(port)) as string,
      });
      taken.close();
    }),
  );
});
