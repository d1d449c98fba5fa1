import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { appendFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { handshakePae, keyRecord, KeyRing, makeHeader, saveTrust, signPayload, SigningKey } from '@capstan/identity';
import { Mesh } from '@capstan/localmesh';
import {
  AgentRole,
  CommandSchema,
  create,
  Direction,
  encodeEnvelope,
  fromBase64,
  newId,
  toBase64,
  toBinary,
  toHex,
} from '@capstan/protocol';
import { agentIn } from '../support/agents.js';
import { environmentOf } from '../support/host-processes.js';
import { streamOf } from '../support/model-stream.js';
import { Upstream } from '../support/model-upstream.js';
import { proves } from '../support/proves.js';
import { TestRepository } from '../support/repository.js';

jest.setTimeout(300_000);

const CANARY = 'canary-9d41c7e0-sealed-for-one-agent';
const OPERATOR = 'op-ada';
const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

describe('a secret that is sealed to an instance', () => {
  const repository = new TestRepository();
  const directory = mkdtempSync(join(tmpdir(), 'capstan-operator-'));
  const keyFile = join(directory, 'operator.key');
  let key: SigningKey;
  let upstream: Upstream;
  let mesh: Mesh;

  beforeAll(async () => {
    key = await SigningKey.create(keyFile);
    upstream = await Upstream.start((response, { body }) => {
      const isFirst = (body['messages'] as unknown[]).length === 1;
      const command = 'printf %s "$DEPLOY_TOKEN" | sha256sum; echo "it is $DEPLOY_TOKEN" >/dev/stderr';
      const use = isFirst
        ? { name: 'bash', input: { command } }
        : { name: 'submit', input: { summary: 'Nothing was changed' } };
      streamOf(response, [{ type: 'tool_use', id: `toolu_${newId()}`, ...use }], { input: 10, output: 10 });
    });
    const model = { provider: 'anthropic' as const, apiKey: 'sk-ant-none', url: upstream.url };
    mesh = await Mesh.start({ instances: ['quay'], repository: repository.path, model });
    const { dir } = mesh.instance('quay');
    await appendFile(join(dir, 'policy.yaml'), 'secrets: [DEPLOY_TOKEN]\n');
    await saveTrust(
      join(dir, 'operators.json'),
      new KeyRing([keyRecord(OPERATOR, key.publicKey, ['command', 'grant'])]),
    );
    await addOperator(OPERATOR, key);
  });
  afterAll(async () => {
    await mesh.stop();
    await upstream[Symbol.asyncDispose]();
    repository[Symbol.dispose]();
    rmSync(directory, { recursive: true });
  });

  /** Tells the hub whose commands it may route. */
  async function addOperator(id: string, of: SigningKey): Promise<void> {
    const statement = handshakePae('capstan.v1.operator-key', bytes(mesh.hub.id), bytes(id), of.publicKey);
    const signature = toBase64(of.sign(statement));
    await api('POST', 'federation/operators', { id, publicKey: toHex(of.publicKey), signature });
  }

  async function api(method: string, path: string, body?: unknown): Promise<Record<string, unknown>> {
    const response = await fetch(new URL(`/api/v1/${path}`, mesh.hub.url), {
      method,
      headers: { authorization: `Bearer ${mesh.hub.token}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const answer = (await response.json()) as Record<string, unknown>;
    if (!response.ok) throw new Error(`${path}: ${JSON.stringify(answer)}`);
    return answer;
  }

  /** One command line; the secret never comes back out of it. */
  function capstan(args: readonly string[], env: NodeJS.ProcessEnv = {}, input = ''): string {
    const cli = join(process.cwd(), 'dist/apps/cli/src/main.js');
    const { stdout, stderr } = spawnSync(process.execPath, [cli, ...args], {
      input,
      encoding: 'utf8',
      env: { ...process.env, ...env, CAPSTAN_CONTEXT: mesh.contextFile },
    });
    expect(stdout + stderr).not.toContain(CANARY);
    return stdout.trim();
  }

  /** As a person does, value on standard input. @returns base64 of the sealed envelope */
  function seal(agentId: string): string {
    const args = ['--for', 'quay', '--agent', agentId, '--name', 'DEPLOY_TOKEN', '--key', keyFile, '--as', OPERATOR];
    return capstan(['secrets', 'seal', ...args], {}, `${CANARY}\n`);
  }

  it(
    'comes with a spawn of somebody who is pinned nowhere but in a grant',
    proves(['FED-14', 'FED-16'], async () => {
      const [ciKey, chain] = [join(directory, 'ci.key'), join(directory, 'chain.json')];
      const ci = await SigningKey.create(ciKey);
      await addOperator('op-ci', ci);
      const scope = ['--verb', 'agent.spawn', '--on', 'quay', '--repo', '*', '--budget', '1'];
      const to = ['--to', 'op-ci', '--to-key', toHex(ci.publicKey), '--out', chain];
      capstan(['grant', 'create', '--key', keyFile, '--as', OPERATOR, ...to, ...scope]);
      const order = [
        'agents',
        'spawn',
        'quay',
        '--repo',
        mesh.repository?.path ?? '',
        '--item',
        'Deploy it.',
        '--json',
      ];
      const signed = ['--sign', ciKey, '--as', 'op-ci', '--secret', 'DEPLOY_TOKEN', '--budget', '0.6'];
      const spawn = (...more: string[]): Record<string, unknown> =>
        JSON.parse(capstan([...order, ...signed, ...more], { DEPLOY_TOKEN: CANARY })) as Record<string, unknown>;
      const { agentId } = spawn('--grant', chain);
      await agentIn(mesh, String(agentId), 'failed', 'completed');
      expect(JSON.stringify(upstream.requests.at(-1)?.body)).toContain(sha256(CANARY));
      // Nothing is left for another one under the grant, and without it he is nobody there.
      expect(spawn('--grant', chain)).toMatchObject({ error: { code: 'grant-exceeded' } });
      expect(spawn()).toMatchObject({ error: { code: 'key-unknown' } });
    }),
  );

  it(
    'reaches the agent’s environment, and nothing that is written down anywhere',
    proves('FED-16', async () => {
      const agentId = newId();
      const sealed = seal(agentId);
      const header = makeHeader({
        issuer: OPERATOR,
        audience: 'quay',
        direction: Direction.OPERATOR_TO_SPOKE,
        tenant: 'default',
        hopLimit: 1,
      });
      const value = {
        agentId,
        taskId: newId(),
        role: AgentRole.WORKER,
        runtime: 'claude',
        context: { repository: mesh.repository?.path ?? '', workItems: ['Deploy it.'] },
        secrets: [fromBase64(sealed)],
      };
      const command = create(CommandSchema, { header, body: { case: 'spawn', value } });
      const envelope = signPayload(key, 'command', toBinary(CommandSchema, command));
      await api('POST', 'federation/commands', { envelope: toBase64(encodeEnvelope(envelope)) });
      await agentIn(mesh, agentId, 'failed', 'completed');

      const seen = upstream.requests.map(({ body }) => JSON.stringify(body)).join('\n');
      expect(seen).toContain(sha256(CANARY));
      const { lines } = await mesh.client.logs(agentId, { limit: 5000 });
      expect(JSON.stringify(lines)).not.toContain(CANARY);

      const url = /DATABASE_URL=([^\0]*)/.exec(environmentOf(mesh.hub.process.pid ?? 0))?.[1] ?? '';
      const database = await contentOf(url);
      expect(database).toContain(agentId);
      expect(database).not.toContain(CANARY);

      const files = readdirSync(mesh.stateDir, { recursive: true, withFileTypes: true })
        .filter((file) => file.isFile() && !file.parentPath.includes('/runtime'))
        .map((file) => join(file.parentPath, file.name));
      const holds = (text: string): string[] => files.filter((file) => read(file).includes(text));
      // Logs, append-only files and the database's own are among what is searched.
      for (const part of ['.aof', '.log', 'postgres/', 'spoke']) expect(files.join('\n')).toContain(part);
      expect(holds(agentId).length).toBeGreaterThan(3);
      expect(holds(CANARY)).toEqual([]);
      const { orchestrator, spoke, reaper } = mesh.instance('quay');
      for (const { pid = 0 } of [orchestrator, spoke, reaper, mesh.hub.process])
        expect(environmentOf(pid)).not.toContain(CANARY);
    }),
  );
});

/** Every row of every table, as text. */
async function contentOf(url: string): Promise<string> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query<{ name: string }>(
      `SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables
       WHERE schemaname NOT IN ('pg_catalog', 'information_schema')`,
    );
    const parts: string[] = [];
    for (const { name } of rows) {
      const table = await client.query<Record<string, unknown>>(`SELECT * FROM ${name}`);
      for (const row of table.rows)
        for (const value of Object.values(row))
          parts.push(Buffer.isBuffer(value) ? value.toString('latin1') : JSON.stringify(value));
    }
    return parts.join('\n');
  } finally {
    await client.end();
  }
}

/** A file that goes away while we look holds nothing. */
function read(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch {
    return Buffer.alloc(0);
  }
}
