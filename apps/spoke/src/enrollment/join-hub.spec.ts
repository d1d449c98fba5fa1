import { once } from 'node:events';
import { mkdtemp, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  handshakePae,
  keyRecord,
  KeyRing,
  makeHeader,
  openEnvelope,
  signPayload,
  SigningKey,
  verifyBytes,
} from '@capstan/identity';
import {
  create,
  decodeEnvelope,
  Direction,
  encodeEnvelope,
  EnrolledSchema,
  type Enrollment,
  EnrollmentSchema,
  fromBase64,
  toBase64,
  toBinary,
  toHex,
} from '@capstan/protocol';
import { proves } from '../../../../test/support/proves.js';
import { removeDir } from '../../test/processes.js';
import type { Endorse } from './endorsement.js';
import { type JoinOptions, joinHub } from './join-hub.js';

const reaperKey = SigningKey.generate();
const endorse: Endorse = (_dir, instanceId, identityKey) => {
  const signature = reaperKey.sign(handshakePae('capstan.v1.reaper-endorse', Buffer.from(instanceId), identityKey));
  return Promise.resolve({ publicKey: reaperKey.publicKey, signature });
};
const secret = Buffer.alloc(32, 7).toString('base64url');
let dir: string;
let server: Server;
let hubKey: SigningKey;
/** Signs the answer; the hub's own key unless a test says otherwise. */
let signer: SigningKey;
let statements: string[];
let answers: 'enrolled' | 'nothing' | 'refused';

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'cs-'));
  hubKey = SigningKey.generate();
  signer = hubKey;
  statements = [];
  answers = 'enrolled';
  server = createServer((request, response) => {
    void (async () => {
      const parts: Buffer[] = [];
      for await (const part of request as AsyncIterable<Buffer>) parts.push(part);
      const { enrollment } = JSON.parse(Buffer.concat(parts).toString()) as { enrollment: string };
      statements.push(enrollment);
      if (answers === 'nothing') return response.destroy();
      response.writeHead(answers === 'refused' ? 422 : 200, { 'content-type': 'application/json' });
      return response.end(
        JSON.stringify(answers === 'refused' ? { code: 'enrollment-token' } : { enrolled: enrolled(enrollment) }),
      );
    })();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterEach(async () => {
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
  await removeDir(dir);
});

function read(enrollment: string): { payload: Enrollment; digest: Uint8Array } {
  const envelope = decodeEnvelope(fromBase64(enrollment));
  const claimed = keyRecord('harbor', keyOf(envelope.payload), ['link']);
  const want = { kind: 'enrollment', purpose: 'link', audience: 'hub', direction: Direction.SPOKE_TO_HUB } as const;
  return openEnvelope(envelope, EnrollmentSchema, { ...want, keys: new KeyRing([claimed]), nowMs: Date.now() });
}

function keyOf(payload: Uint8Array): Uint8Array {
  // Field 4 of Enrollment, 32 bytes.
  const at = Buffer.from(payload).indexOf(Buffer.from([0x22, 0x20]));
  return payload.subarray(at + 2, at + 34);
}

function enrolled(enrollment: string): string {
  const header = makeHeader({ issuer: 'hub', audience: 'harbor', direction: Direction.HUB_TO_SPOKE });
  const { digest: enrollmentDigest } = read(enrollment);
  const payload = create(EnrolledSchema, {
    header,
    instanceId: 'harbor',
    connectionId: 'c-1',
    enrollmentDigest,
    state: 'ACTIVE',
  });
  return toBase64(encodeEnvelope(signPayload(signer, 'enrolled', toBinary(EnrolledSchema, payload))));
}

function options(change: Record<string, unknown> = {}): JoinOptions {
  const url = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`;
  const expiresAt = new Date(Date.now() + 60_000).toISOString();
  const invite = { url, hubId: 'hub', hubKey: toHex(hubKey.publicKey), secret, expiresAt, ...change };
  const text = `capstan-invite-v1.${Buffer.from(JSON.stringify(invite)).toString('base64url')}`;
  return { dir, invite: text, instanceId: 'harbor', endorse };
}

describe('joining a hub', () => {
  it(
    'proves both keys, pins the hub’s, and writes who the instance is',
    proves('FED-02', async () => {
      const { instance, state } = await joinHub(options());
      expect(state).toBe('ACTIVE');
      expect(JSON.parse(await readFile(join(dir, 'instance.json'), 'utf8'))).toEqual(instance);
      const trust = JSON.parse(await readFile(join(dir, 'trust.json'), 'utf8')) as { keys: unknown };
      expect(trust.keys).toMatchObject([
        { owner: 'hub', publicKey: toHex(hubKey.publicKey), purposes: ['link', 'command', 'admit', 'lease'] },
      ]);
      const { payload } = read(statements[0] ?? '');
      const endorsed = handshakePae('capstan.v1.reaper-endorse', Buffer.from('harbor'), payload.identityKey);
      expect(verifyBytes(payload.reaperKey, endorsed, payload.reaperSignature)).toBe(true);
      expect(statements[0]).not.toContain(secret);
      expect((await stat(join(dir, 'identity.key'))).mode & 0o777).toBe(0o600);
    }),
  );

  it(
    'writes down which key it made, so that it can be replaced once it is lost',
    proves('FED-11', async () => {
      await joinHub(options());
      const { keyId } = await SigningKey.load(join(dir, 'identity.key'));
      expect(JSON.parse(await readFile(join(dir, 'key-record.json'), 'utf8'))).toMatchObject({ keyId, epoch: 1 });
    }),
  );

  it(
    'names the runtimes and sandboxes that its owner’s policy offers at that moment',
    proves('ORC-106', async () => {
      const offered = async (): Promise<string[]> => {
        await joinHub({ ...options(), isAgain: true });
        return read(statements.at(-1) ?? '').payload.capabilities;
      };
      expect(await offered()).toEqual(['sandbox.bubblewrap', 'runtime.claude']);
      const file = join(dir, 'policy.yaml');
      const policy = await readFile(file, 'utf8');
      await writeFile(file, policy.replace('[bubblewrap]', '[docker, bubblewrap]').replace('[claude]', '[My tool]'));
      expect(await offered()).toEqual(['sandbox.docker', 'sandbox.bubblewrap']);
      await writeFile(file, 'version: 2');
      expect(await offered()).toEqual([]);
    }),
  );

  it('says so where the directory is a file', async () => {
    const file = join(dir, 'a-file');
    await writeFile(file, '');
    await expect(joinHub({ ...options(), dir: file })).rejects.toMatchObject({ code: 'directory-unusable' });
  });

  it('allows nobody anything until the owner has said so', async () => {
    await joinHub(options());
    expect(await readFile(join(dir, 'policy.yaml'), 'utf8')).toContain('repositories: []');
  });

  it('sends the same statement again when the answer was lost', async () => {
    answers = 'nothing';
    const invited = options();
    await expect(joinHub(invited)).rejects.toMatchObject({ code: 'hub-unreachable' });
    answers = 'enrolled';
    await joinHub(invited);
    expect(statements).toHaveLength(2);
    expect(statements[1]).toBe(statements[0]);
    expect(await readdir(dir)).not.toContain('enrollment.json');
  });

  it(
    'believes nobody but the hub whose key the invitation pins',
    proves('FED-02', async () => {
      signer = SigningKey.generate();
      await expect(joinHub(options())).rejects.toMatchObject({ code: 'enrollment-forged' });
      expect(await readdir(dir)).not.toContain('instance.json');
    }),
  );

  it('says why the hub refused', async () => {
    answers = 'refused';
    await expect(joinHub(options())).rejects.toMatchObject({ code: 'enrollment-refused', detail: 'enrollment-token' });
  });

  it('happens once, unless the owner says again; another hub counts its own revocations', async () => {
    await joinHub(options());
    await expect(joinHub(options())).rejects.toMatchObject({ code: 'already-joined' });
    const epoch = join(dir, 'revocation-epoch');
    await writeFile(epoch, '7\n');
    await joinHub({ ...options(), isAgain: true });
    expect(await readFile(epoch, 'utf8')).toBe('7\n');
    hubKey = SigningKey.generate();
    signer = hubKey;
    await joinHub({ ...options(), isAgain: true });
    expect(await readdir(dir)).not.toContain('revocation-epoch');
  });

  it.each([
    ['invite-expired', { expiresAt: '2020-01-01T00:00:00Z' }],
    ['invite-insecure', { url: 'http://hub.example' }],
    ['invite-malformed', { secret: 'short' }],
    ['invite-malformed', { hubKey: '01'.padEnd(64, '0') }],
    ['invite-malformed', { hubId: 'no id' }],
  ])('refuses with %s an invitation with %j', async (code, change) => {
    await expect(joinHub(options(change))).rejects.toMatchObject({ code });
    expect(statements).toEqual([]);
  });

  it('refuses what is no invitation', async () => {
    await expect(joinHub({ ...options(), invite: 'capstan-invite-v1.e30' })).rejects.toMatchObject({
      code: 'invite-malformed',
    });
  });
});
