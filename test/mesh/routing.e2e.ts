import { execFile } from 'node:child_process';
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Mesh } from '@capstan/localmesh';
import { proves } from '../support/proves.js';
import { TestRepository } from '../support/repository.js';

jest.setTimeout(120_000);

const run = promisify(execFile);
const CLI = join(process.cwd(), 'dist/apps/cli/src/main.js');

interface Answer {
  code: number;
  answer: Record<string, unknown> & { agentId?: string; error?: { code: string } };
}

describe('commands that the hub only routes', () => {
  const repository = new TestRepository();
  const files = mkdtempSync(join(tmpdir(), 'capstan-routing-'));
  let mesh: Mesh;
  let remote: string;

  beforeAll(async () => {
    mesh = await Mesh.start({ instances: ['harbor', 'quay'], repository: repository.path });
    remote = mesh.repository?.path ?? '';
  });
  afterAll(async () => {
    await mesh.stop();
    repository[Symbol.dispose]();
    rmSync(files, { recursive: true, force: true });
  });

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

  function spawn(...further: string[]): Promise<Answer> {
    return capstan('agents', 'spawn', '--repo', remote, '--item', 'Go on.', '--playbook', 'long-run', ...further);
  }

  function allow(instance: string, policy: string): void {
    appendFileSync(join(mesh.instance(instance).dir, 'policy.yaml'), policy);
  }

  it(
    'one instance orders, asks and kills on another, each side having said that it may',
    proves('FED-09', async () => {
      const via = ['--via', 'quay', '--on', 'harbor'];
      expect((await spawn(...via)).answer.error).toMatchObject({ code: 'policy-peer' });
      const rule = '{ origin: quay, verbs: [spawn, status, kill], targets: [harbor], tenants: [default] }';
      writeFileSync(join(mesh.stateDir, 'hub', 'routing.yaml'), `version: 1\ninstances:\n  - ${rule}\n`);
      expect((await spawn(...via)).answer.error).toMatchObject({ code: 'policy-peer' });
      allow('harbor', 'peers:\n  - { instance: quay, verbs: [spawn, status, kill] }\n');

      const spawned = await spawn(...via);
      expect(spawned).toMatchObject({
        code: 0,
        answer: { target: 'harbor', receipt: { kind: 'spawned', verified: true } },
      });
      const id = spawned.answer.agentId ?? '';
      expect(await capstan('agents', 'status', id, ...via)).toMatchObject({
        code: 0,
        answer: { agent: { instance: 'harbor', agentId: id }, receipt: { kind: 'status', verified: true } },
      });
      const receipt = join(files, 'via.json');
      expect(await capstan('agents', 'kill', id, ...via, '--save', receipt)).toMatchObject({
        code: 0,
        answer: { confirmed: true, via: 'quay' },
      });
      // Command of quay, receipt of harbor, observation of harbor's reaper: all of it offline.
      expect(await capstan('verify', receipt)).toMatchObject({ code: 0, answer: { receipt: { orderedBy: 'quay' } } });
      const pinned = JSON.parse(readFileSync(join(mesh.instance('harbor').dir, 'peers.json'), 'utf8')) as {
        keys: { owner: string }[];
      };
      expect(pinned.keys.map(({ owner }) => owner)).toEqual(['quay']);
      expect(await capstan('agents', 'status', 'nobody', ...via)).toMatchObject({
        answer: { error: { code: 'agent-unknown' } },
      });
    }),
  );

  it(
    'an operator signs, and an instance that demands it takes nothing else from the hub but kills',
    proves('FED-13', async () => {
      const key = join(files, 'alice.key');
      expect(await capstan('operator', 'init', 'op-alice', '--key', key)).toMatchObject({
        code: 0,
        answer: { id: 'op-alice' },
      });
      const sign = ['--sign', key];
      expect((await spawn('quay', ...sign)).answer.error).toMatchObject({ code: 'key-unknown' });
      expect(await capstan('operator', 'add', key)).toMatchObject({ code: 0 });
      expect((await spawn('quay', ...sign)).answer.error).toMatchObject({ code: 'key-unknown' });
      const { dir } = mesh.instance('quay');
      expect(await capstan('operator', 'pin', `${key}.pub.json`, '--dir', dir)).toMatchObject({ code: 0 });
      allow('quay', 'demandOperatorSignature: [spawn, status]\n');

      expect((await spawn('quay')).answer.error).toMatchObject({ code: 'policy-operator' });
      const spawned = await spawn('quay', ...sign);
      expect(spawned).toMatchObject({ code: 0, answer: { instance: 'quay' } });
      const id = spawned.answer.agentId ?? '';
      expect((await capstan('agents', 'status', id)).answer.error).toMatchObject({ code: 'policy-operator' });
      expect(await capstan('operator', 'use', key)).toMatchObject({ code: 0 });
      expect(await capstan('agents', 'status', id, '--sign')).toMatchObject({
        code: 0,
        answer: { agent: { agentId: id } },
      });
      expect(await capstan('agents', 'kill', id, '--sign')).toMatchObject({ code: 0, answer: { confirmed: true } });

      // What was signed on a machine without a network is sent by another.
      const [request, signed] = [join(files, 'request.json'), join(files, 'signed.json')];
      writeFileSync(request, JSON.stringify({ instance: 'quay', kill: { agentId: id } }));
      expect(await capstan('operator', 'sign', request, '--key', key, '--out', signed)).toMatchObject({ code: 0 });
      expect(await capstan('operator', 'send', signed)).toMatchObject({ code: 0, answer: { instance: 'quay' } });

      // The hub itself can still kill.
      const another = (await spawn('quay', ...sign)).answer.agentId ?? '';
      expect(await capstan('agents', 'kill', another)).toMatchObject({ code: 0, answer: { confirmed: true } });

      expect(await capstan('operator', 'revoke', 'op-alice')).toMatchObject({ code: 0 });
      expect((await spawn('quay', ...sign)).answer.error).toMatchObject({ code: 'key-revoked' });
    }),
  );
});
