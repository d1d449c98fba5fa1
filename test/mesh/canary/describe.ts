import { randomBytes } from 'node:crypto';
import { fromBase64 } from '@capstan/protocol';
import { receiptOf, spawnAgent } from '../../support/agents.js';
import { environmentOf } from '../../support/host-processes.js';
import { InstanceApi } from '../../support/instance-api.js';
import { streamOf } from '../../support/model-stream.js';
import { Upstream, type UpstreamRequest } from '../../support/model-upstream.js';
import { proves } from '../../support/proves.js';
import { git } from '../../support/repository.js';
import { until } from '../../support/until.js';
import type { StartDriver, TestDriver } from '../execution/driver.js';
import { quayOn } from '../execution/quay-on.js';
import { objectsOf, rowsOf, writtenIn } from './gather.js';
import { foundIn, tracesOf } from './traces.js';
import { WAYS, type Way } from './ways.js';

const PREFIX = 'sk-ant-api03-';
const KEY = `${PREFIX}${randomBytes(60).toString('base64url')}`;
/** A word that may leave: where it is not found, the search is blind. */
const DECOY = 'decoy-lighthouse-keeper-of-the-eastern-mole';
/** Every way is gone within a minute; the machine may be slow. */
const PATIENCE_MS = 200_000;

/** What an agent finds that looks for a secret wherever it can, and what of it gets out: the same on every sandbox. */
export function describeCanary(startDriver: StartDriver): void {
  describe('a secret of the instance', () => {
    let upstream: Upstream;
    /** What the agent was told of each way, as the model saw it. */
    const observed = new Map<string, string>();

    beforeAll(async () => {
      const answer: Parameters<typeof Upstream.start>[0] = (response, request) => {
        if (request.body['tools'] === undefined) echo(response, request);
        else streamOf(response, [nextCall(request)], { input: 10, output: 10 });
      };
      upstream = await Upstream.start(answer);
    });
    const room = quayOn(startDriver, () => ({ model: { provider: 'anthropic', apiKey: KEY, url: upstream.url } }));
    afterAll(() => upstream[Symbol.asyncDispose]());

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
      const { mesh } = room;
      const { dir, orchestrator } = room.quay();
      const told = {
        DECOY,
        HOST_DIR: dir,
        HOST_STATE: mesh.stateDir,
        HOST_PID: String(orchestrator.pid ?? 0),
        HOST_UPSTREAM: new URL(upstream.url).port,
        HOST_HUB: new URL(mesh.hub.url).port,
        HOST_DOCKER: dockerOf(room.sandbox),
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
        const { mesh } = room;
        const { agentId } = await spawnAgent(mesh, 'quay');
        const agent = await until(
          'it has looked everywhere',
          async () => {
            const seen = await mesh.client.agent(agentId).catch(() => undefined);
            return seen !== undefined && ['completed', 'failed', 'killed'].includes(seen.state) && seen;
          },
          PATIENCE_MS,
        );
        expect([agent.state, agent.error]).toEqual(['completed', null]);
        // Each way was gone to its end, and met what it had to meet.
        const wrong = WAYS.filter(({ name, observed: wanted }) => !wanted.test(plain(observed.get(name))));
        expect(wrong.map(({ name }) => `${name}: ${plain(observed.get(name)).slice(0, 1500)}`)).toEqual([]);
        expect(WAYS.length).toBeGreaterThanOrEqual(30);

        await room.leftNothing();
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
      const { mesh } = room;
      const { lines } = await mesh.client.logs(agentId, { limit: 5000 });
      await receiptOf(mesh, agentId, 'finished');
      const { receipts } = await mesh.client.agent(agentId);
      const api = new InstanceApi(room.quay());
      const isOver = (data: Record<string, unknown>): boolean => data['agentId'] === agentId && 'cleanedAt' in data;
      const events = await api.events('/agents/events?after=0', (all) => all.some(({ data }) => isOver(data)));
      const branch = git(remote, 'for-each-ref', '--format=%(refname)', 'refs/heads/capstan').trim();
      const database = /CAPSTAN_DATABASE_URL=([^\0]+)/.exec(environmentOf(mesh.hub.process.pid ?? 0))?.[1] ?? '';
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
        files: writtenIn(mesh.stateDir),
        ...Object.fromEntries(
          ['base64', 'hex', 'url', 'reversed', 'first', 'second'].map((name) => [`parcel-${name}`, parcel(name)]),
        ),
      };
    }
  });
}

const plain = (json = ''): string => json.replaceAll('\\n', '\n').replaceAll('\\"', '"');
const latin1 = (base64: string): string => Buffer.from(fromBase64(base64)).toString('latin1');

function dockerOf(sandbox: TestDriver['mesh']['sandbox']): string {
  return (sandbox?.driver === 'docker' ? sandbox.socketPath : undefined) ?? '/run/docker.sock';
}
