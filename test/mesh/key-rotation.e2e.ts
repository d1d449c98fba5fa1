import { execFile } from 'node:child_process';
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Mesh } from '@capstan/localmesh';
import { decodeEnvelope, fromBase64 } from '@capstan/protocol';
import { agentIn, commandIn, spawnAgent } from '../support/agents.js';
import { proves } from '../support/proves.js';
import { TestRepository } from '../support/repository.js';
import { until } from '../support/until.js';

jest.setTimeout(400_000);

const run = promisify(execFile);
const CLI = join(process.cwd(), 'dist/apps/cli/src/main.js');
/** Long enough for a busy machine to do something within it. */
const OVERLAP_MS = 25_000;
/** Shorter than an overlap: an agent that outlives it lives by renewals under the new key. */
const LEASE_MS = 20_000;

interface Answer {
  code: number;
  answer: Record<string, unknown> & { agentId?: string; error?: { code: string; sentence: string } };
}

describe('keys that are replaced while agents run', () => {
  const repository = new TestRepository();
  const files = mkdtempSync(join(tmpdir(), 'capstan-rotation-'));
  const root = join(files, 'harbor.root');
  let mesh: Mesh;

  beforeAll(async () => {
    mesh = await Mesh.start({ instances: ['harbor', 'quay'], repository: repository.path });
    const rule = '{ origin: quay, verbs: [spawn, status, kill], targets: [harbor], tenants: [default] }';
    writeFileSync(join(mesh.stateDir, 'hub', 'routing.yaml'), `version: 1\ninstances:\n  - ${rule}\n`);
    appendFileSync(
      join(dirOf('harbor'), 'policy.yaml'),
      'peers:\n  - { instance: quay, verbs: [spawn, status, kill] }\n',
    );
    await joinWithRootKey();
  });
  afterAll(async () => {
    await mesh.stop();
    repository[Symbol.dispose]();
    rmSync(files, { recursive: true, force: true });
  });

  const dirOf = (instance: string): string => mesh.instance(instance).dir;

  /** Runs `capstan … --json` and returns its exit code and its one object. */
  async function capstan(...args: string[]): Promise<Answer> {
    const env = { ...process.env, CAPSTAN_CONTEXT: mesh.contextFile };
    try {
      const { stdout } = await run(process.execPath, [CLI, ...args, '--json'], { env });
      return { code: 0, answer: JSON.parse(stdout) as Answer['answer'] };
    } catch (error) {
      const { code, stdout } = error as { code: number; stdout: string };
      return { code, answer: JSON.parse(stdout) as Answer['answer'] };
    }
  }

  async function done(...args: string[]): Promise<Answer['answer']> {
    const { code, answer } = await capstan(...args);
    expect({ args, code, error: answer.error }).toEqual({ args, code: 0, error: undefined });
    return answer;
  }

  const connectionOf = async (instance: string) =>
    (await mesh.client.connections().catch(() => [])).findLast(({ instanceId }) => instanceId === instance);

  function online(instance: string): Promise<boolean> {
    return until(`${instance} is online`, async () => (await connectionOf(instance))?.online, 60_000);
  }

  /** As its owner would: the hub lets it go, and it joins anew with the public half of its root key. */
  async function joinWithRootKey(): Promise<void> {
    await done('root-key', 'create', root);
    await done('spoke', 'disconnect', 'harbor');
    const { invite } = await mesh.client.invite({ autoApprove: true, ttlSeconds: 300 });
    await done(
      'spoke',
      'join',
      invite,
      '--dir',
      dirOf('harbor'),
      '--name',
      'harbor',
      '--again',
      '--root-key',
      `${root}.pub`,
    );
    const { spoke, reaper } = mesh.instance('harbor');
    await Promise.all([spoke.stop(), reaper.stop()]);
    await reaper.start();
    await spoke.start();
    await online('harbor');
  }

  async function runningAgent(instance: string): Promise<string> {
    const { agentId } = await spawnAgent(mesh, instance, {
      playbook: 'long-run',
      onHubLost: { killAfterMs: LEASE_MS },
    });
    await agentIn(mesh, agentId, 'running');
    return agentId;
  }

  async function signerOf(commandId: string): Promise<string | undefined> {
    const { receipts } = await until('it is answered', async () => {
      const command = await mesh.client.command(commandId);
      return command.receipts.length > 0 ? command : undefined;
    });
    return decodeEnvelope(fromBase64(receipts[0]?.envelope ?? '')).signatures[0]?.keyId;
  }

  async function past(isoTime: string): Promise<void> {
    await until('the overlap is over', () => Date.now() > Date.parse(isoTime) + 1_000, 2 * OVERLAP_MS);
  }

  /** Asks, kills and proves: by the context, which has pinned the first key of everybody. */
  async function worksFor(agentId: string, ...via: string[]): Promise<string> {
    const receipt = join(files, `${agentId}.json`);
    expect(await done('agents', 'status', agentId, ...via)).toMatchObject({ agent: { state: 'running' } });
    expect(await done('agents', 'kill', agentId, ...via, '--save', receipt)).toMatchObject({ confirmed: true });
    await done('verify', receipt);
    return receipt;
  }

  const pinnedPeers = (instance: string, owner: string): string[] =>
    (
      JSON.parse(readFileSync(join(dirOf(instance), 'peers.json'), 'utf8')) as {
        keys: { owner: string; keyId: string }[];
      }
    ).keys
      .filter((key) => key.owner === owner)
      .map(({ keyId }) => keyId);

  const receipts: string[] = [];

  it(
    'the hub’s: agents live on by leases of the new key; statuses, spawns, kills and heads go on over the overlap and after',
    proves('FED-11', async () => {
      const [before, other] = [await runningAgent('harbor'), await runningAgent('quay')];
      const { key } = (await done('hub', 'rotate-key', '--overlap', `${String(OVERLAP_MS / 1000)}s`)) as {
        key?: { keyId: string; oldKeyId: string; oldUntil: string };
      };
      const within = await runningAgent('harbor');
      await done('agents', 'status', before);
      await past(key?.oldUntil ?? '');
      const after = await runningAgent('harbor');
      for (const agentId of [before, within, after, other]) receipts.push(await worksFor(agentId));
      const heads = (await mesh.client.auditHeads('harbor')).heads.length;
      expect(heads).toBeGreaterThan(0);
      expect(readFileSync(join(dirOf('harbor'), 'audit', 'spoke.log'), 'utf8')).toContain('hub.key-replaced');
      expect((await mesh.client.instance()).keys[0]?.keyId).toBe(key?.keyId);
    }),
  );

  it(
    'those of two instances, of which one orders on the other: the pins on either side follow',
    proves('FED-11', async () => {
      const via = ['--via', 'quay', '--on', 'harbor'];
      const remote = mesh.repository?.path ?? '';
      const order = [
        'agents',
        'spawn',
        '--repo',
        remote,
        '--item',
        'Go on.',
        '--playbook',
        'long-run',
        '--keep',
        ...via,
      ];
      const routed = async (): Promise<string> => {
        const { agentId = '' } = await done(...order);
        await agentIn(mesh, agentId, 'running');
        return agentId;
      };
      const first = await routed();
      const own = await runningAgent('quay');
      const old = { harbor: pinnedPeers('quay', 'harbor'), quay: pinnedPeers('harbor', 'quay') };
      const overlap = ['--overlap', `${String(OVERLAP_MS / 1000)}s`];
      const oldUntil: string[] = [];
      for (const instance of ['harbor', 'quay']) {
        const { key } = (await done('spoke', 'rotate-key', '--local', dirOf(instance), ...overlap)) as {
          key?: { keyId: string; oldUntil: string | null; answer: { is: string } };
        };
        expect(key?.answer).toEqual({ is: 'taken' });
        oldUntil.push(key?.oldUntil ?? '');
      }
      await Promise.all([online('harbor'), online('quay')]);
      const second = await routed();
      await past(oldUntil[1] ?? '');
      await Promise.all([online('harbor'), online('quay')]);
      const third = await routed();
      for (const agentId of [first, second, third])
        receipts.push(await worksFor(agentId, '--via', 'quay', '--on', 'harbor'));
      receipts.push(await worksFor(own));
      expect(pinnedPeers('harbor', 'quay')).toHaveLength(old.quay.length + 1);
      expect(pinnedPeers('quay', 'harbor')).toHaveLength(old.harbor.length + 1);
      const { commandId } = await spawnAgent(mesh, 'quay', {});
      const { keyId } = (await connectionOf('quay'))?.keys[0] ?? {};
      expect(await signerOf(commandId)).toBe(keyId);
    }),
  );

  it(
    'with an order that waits, and every process started anew in between',
    proves('FED-11', async () => {
      const harbor = mesh.instance('harbor');
      await harbor.spoke.stop();
      const waiting = await spawnAgent(mesh, 'harbor', { playbook: 'long-run' });
      await done('hub', 'rotate-key', '--overlap', '1h');
      const { process: hub } = mesh.hub;
      await hub.stop();
      await Promise.all([harbor.orchestrator.stop(), harbor.reaper.stop()]);
      await Promise.all([hub.start(60_000), harbor.reaper.start(60_000)]);
      await harbor.orchestrator.start(60_000);
      await harbor.spoke.start(60_000);
      await Promise.all([online('harbor'), online('quay')]);
      await commandIn(mesh, waiting.commandId, 'DELIVERED');
      await agentIn(mesh, waiting.agentId, 'running');
      receipts.push(await worksFor(waiting.agentId));
      for (const instance of ['harbor', 'quay']) receipts.push(await worksFor(await runningAgent(instance)));
    }),
  );

  it(
    'one that is lost, by the root key: agents live on, and who has not pinned the root key is told what to do, about that owner only',
    proves('FED-11', async () => {
      const [agentId, other] = [await runningAgent('harbor'), await runningAgent('quay')];
      const lost = (await connectionOf('harbor'))?.keys[0]?.keyId;
      rmSync(join(dirOf('harbor'), 'identity.key'));
      const recovered = await done('spoke', 'recover', '--local', dirOf('harbor'), '--root-key', root);
      await until('the new key links', async () => {
        const connection = await connectionOf('harbor');
        return connection?.online === true && connection.keys[0]?.keyId === recovered['keyId'];
      });
      expect((await connectionOf('harbor'))?.keys.find(({ keyId }) => keyId === lost)?.revokedAt).not.toBeNull();

      const { code, answer } = await capstan('agents', 'status', agentId);
      expect({ code, error: answer.error?.code }).toEqual({ code: 1, error: 'key-unfollowed' });
      expect(answer.error?.sentence).toContain('pin harbor anew');
      await done('agents', 'status', other);
      const via = ['--via', 'quay', '--on', 'harbor'];
      expect((await capstan('agents', 'status', agentId, ...via)).answer.error?.code).toBe('key-unfollowed');

      await done('root-key', 'pin', `${root}.pub`, '--of', 'harbor');
      await done('root-key', 'pin', `${root}.pub`, '--of', 'harbor', '--trust', join(dirOf('quay'), 'peers.json'));
      expect(await done('agents', 'status', agentId, ...via)).toMatchObject({ receipt: { verified: true } });
      receipts.push(await worksFor(agentId), await worksFor(other));
    }),
  );

  it(
    'and every receipt of all that verifies with the keys that were pinned in the beginning',
    proves('FED-11', async () => {
      expect(receipts.length).toBeGreaterThan(10);
      for (const file of receipts) await done('verify', file);
    }),
  );
});
