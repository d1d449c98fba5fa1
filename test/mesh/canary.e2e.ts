import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Mesh } from '@capstan/localmesh';
import { fromBase64 } from '@capstan/protocol';
import pg from 'pg';
import { agentIn, receiptOf, spawnAgent } from '../support/agents.js';
import { environmentOf } from '../support/host-processes.js';
import { InstanceApi } from '../support/instance-api.js';
import { streamOf } from '../support/model-stream.js';
import { Upstream, type UpstreamRequest } from '../support/model-upstream.js';
import { proves } from '../support/proves.js';
import { git, TestRepository } from '../support/repository.js';
import { foundIn, tracesOf } from './canary/traces.js';
import { WAYS, type Way } from './canary/ways.js';

jest.setTimeout(240_000);

const PREFIX = 'sk-ant-api03-';
const KEY = `${PREFIX}${randomBytes(60).toString('base64url')}`;
/** A word that may leave: where it is not found, the search is blind. */
const DECOY = 'decoy-lighthouse-keeper-of-the-eastern-mole';

describe('what finds a canary', () => {
  const said = (text: string) => foundIn(text, tracesOf(KEY, PREFIX)).length > 0;
  const encoded = (encoding: 'hex' | 'base64' | 'base64url') => Buffer.from(`x${KEY}y`).toString(encoding);
  it.each([
    ['as it is', KEY],
    ['in the middle of something', `x=${KEY};`],
    ['its first half', KEY.slice(0, KEY.length / 2)],
    ['its second half', KEY.slice(KEY.length / 2)],
    ['backwards', Array.from(KEY).reverse().join('')],
    ['in hex', encoded('hex')],
    ['in capital hex', encoded('hex').toUpperCase()],
    ['in base64', encoded('base64')],
    ['in base64 for URLs', encoded('base64url')],
    ['as a URL has it', Buffer.from(KEY).toString('hex').replaceAll(/../g, '%$&')],
  ])('finds it %s', (_, text) => expect(said(text)).toBe(true));
  it('finds it nowhere else', () => {
    expect(said(`${PREFIX}${randomBytes(5000).toString('base64')} ${randomBytes(5000).toString('hex')}`)).toBe(false);
  });
});

describe('a secret of the instance', () => {
  const repository = new TestRepository();
  let upstream: Upstream;
  let mesh: Mesh;
  let database = '';
  /** What the agent was told of each way, as the model saw it. */
  const observed = new Map<string, string>();

  beforeAll(async () => {
    upstream = await Upstream.start((response, request) => {
      if (request.body['tools'] === undefined) echo(response, request);
      else streamOf(response, [nextCall(request)], { input: 10, output: 10 });
    });
    const model = { provider: 'anthropic' as const, apiKey: KEY, url: upstream.url };
    mesh = await Mesh.start({ instances: ['quay'], repository: repository.path, model });
    database = /CAPSTAN_DATABASE_URL=([^\0]+)/.exec(environmentOf(mesh.hub.process.pid ?? 0))?.[1] ?? '';
  });
  afterAll(async () => {
    await mesh.stop();
    await upstream[Symbol.asyncDispose]();
    repository[Symbol.dispose]();
  });

  /** A model that says more than it should. */
  function echo(
    response: Parameters<Parameters<typeof Upstream.start>[0]>[0],
    { body, headers }: UpstreamRequest,
  ): void {
    const text = JSON.stringify(body['messages']);
    const status = text.includes('echo-in-refusal') ? 400 : text.includes('echo-in-outage') ? 401 : 200;
    const message = `your key is ${String(headers['x-api-key'])}`;
    const said = text.includes('echo-in-reply') ? message : 'Good day';
    const whole = { content: [{ type: 'text', text: said }], usage: { input_tokens: 1, output_tokens: 1 } };
    response
      .writeHead(status, { 'content-type': 'application/json', 'x-echo': message, 'set-cookie': message })
      .end(
        JSON.stringify(status === 200 ? whole : { type: 'error', error: { type: 'invalid_request_error', message } }),
      );
  }

  /** The agent's model walks down the list, and notes what each way has shown. */
  function nextCall({ body }: UpstreamRequest): Record<string, unknown> {
    const messages = body['messages'] as { role: string; content: unknown }[];
    const turn = messages.filter(({ role }) => role === 'assistant').length;
    const before = WAYS[turn - 1];
    if (before !== undefined) observed.set(before.name, JSON.stringify(messages.at(-1)?.content));
    const way = WAYS[turn];
    return way === undefined
      ? { type: 'tool_use', id: 'toolu_end', name: 'submit', input: { summary: `Looked everywhere: ${DECOY}` } }
      : { type: 'tool_use', id: `toolu_${String(turn)}`, name: 'bash', input: { command: commandOf(way) } };
  }

  function commandOf({ name, script }: Way): string {
    const { dir, orchestrator } = mesh.instance('quay');
    const told = {
      DECOY,
      HOST_DIR: dir,
      HOST_STATE: mesh.stateDir,
      HOST_PID: String(orchestrator.pid ?? 0),
      HOST_UPSTREAM: new URL(upstream.url).port,
      HOST_HUB: new URL(mesh.hub.url).port,
    };
    const exports = Object.entries(told).map(([key, value]) => `export ${key}='${value}'`);
    return [
      ...exports,
      'mkdir -p findings',
      `{ ${script}\n} 2>&1 | head -c 100000 | tee 'findings/${name}.txt' | head -c 6000`,
    ].join('\n');
  }

  it(
    'is not to be had in a sandbox, and leaves it in no form, in whatever way an agent tries',
    proves('SEC-01', async () => {
      const { agentId } = await spawnAgent(mesh, 'quay');
      const agent = await agentIn(mesh, agentId, 'completed', 'failed', 'killed');
      expect([agent.state, agent.error]).toEqual(['completed', null]);
      // Each way was gone to its end, and met what it had to meet.
      const wrong = WAYS.filter(({ name, observed: wanted }) => !wanted.test(plain(observed.get(name))));
      expect(wrong.map(({ name }) => `${name}: ${plain(observed.get(name)).slice(0, 1500)}`)).toEqual([]);
      expect(WAYS.length).toBeGreaterThanOrEqual(30);

      const left = await everythingThatLeft(agentId, mesh.repository?.path ?? '');
      const traces = tracesOf(KEY, PREFIX);
      expect(Object.keys(left).filter((place) => foundIn(left[place] ?? '', traces).length > 0)).toEqual([]);
      // The search sees what is there: the decoy, in every parcel and in every place that tells of the agent.
      const decoys = tracesOf(DECOY);
      for (const place of ['branch', 'log', 'model', 'database', 'receipts'])
        expect([place, foundIn(left[place] ?? '', decoys).length > 0]).toEqual([place, true]);
      const parcels = ['base64', 'hex', 'url', 'reversed', 'first', 'second'];
      for (const name of parcels)
        expect([name, foundIn(left[`parcel-${name}`] ?? '', decoys).length > 0]).toEqual([name, true]);
      // And the key did its work, outside.
      expect(upstream.requests.every(({ headers }) => headers['x-api-key'] === KEY)).toBe(true);
    }),
  );

  async function everythingThatLeft(agentId: string, remote: string): Promise<Record<string, string>> {
    const { lines } = await mesh.client.logs(agentId, { limit: 5000 });
    await receiptOf(mesh, agentId, 'finished');
    const { receipts } = await mesh.client.agent(agentId);
    const api = new InstanceApi(mesh.instance('quay'));
    const isOver = (data: Record<string, unknown>): boolean => data['agentId'] === agentId && 'cleanedAt' in data;
    const events = await api.events('/agents/events?after=0', (all) => all.some(({ data }) => isOver(data)));
    const branch = git(remote, 'for-each-ref', '--format=%(refname)', 'refs/heads/capstan').trim();
    const parcel = (name: string): string => git(remote, 'show', `${branch}:parcel-${name}.txt`);
    return {
      branch: objectsOf(remote),
      refs: git(remote, 'for-each-ref'),
      log: JSON.stringify(lines),
      receipts: JSON.stringify(receipts) + receipts.map(({ envelope }) => latin1(envelope)).join(),
      events: JSON.stringify(events),
      model: upstream.requests.map(({ body }) => JSON.stringify(body)).join('\n'),
      metrics: JSON.stringify(await (await fetch(`${mesh.hub.url}/metrics`)).text()),
      database: await rowsOf(database),
      files: filesIn(mesh.stateDir)
        .map((file) => readFileSync(file, 'latin1'))
        .join('\n'),
      ...Object.fromEntries(
        ['base64', 'hex', 'url', 'reversed', 'first', 'second'].map((name) => [`parcel-${name}`, parcel(name)]),
      ),
    };
  }
});

const plain = (json = ''): string => json.replaceAll('\\n', '\n').replaceAll('\\"', '"');
const latin1 = (base64: string): string => Buffer.from(fromBase64(base64)).toString('latin1');

/** Every object of a repository, reachable or not. */
function objectsOf(repository: string): string {
  const arguments_ = ['-C', repository, 'cat-file', '--batch-all-objects', '--batch'];
  return execFileSync('git', arguments_, { maxBuffer: 256 * 1024 * 1024 }).toString('latin1');
}

/** Every row of every table, bytes as hex. */
async function rowsOf(url: string): Promise<string> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rows: tables } = await client.query<{ name: string }>(
      "select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname not in ('pg_catalog', 'information_schema')",
    );
    const all: string[] = [];
    for (const { name } of tables) {
      const { rows } = await client.query<{ row: string }>(`select t::text as row from ${name} t`);
      all.push(...rows.map(({ row }) => row));
    }
    return all.join('\n');
  } finally {
    await client.end();
  }
}

/** What anybody wrote down; the database's own files and Node's binary aside. */
function filesIn(root: string): string[] {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !/\/(?:postgres|runtime)(?:\/|$)/.test(entry.parentPath))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((file) => (statSync(file, { throwIfNoEntry: false })?.size ?? Infinity) < 8 * 1024 * 1024);
}
