import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Mesh } from '@capstan/localmesh';
import { agentIn, spawnAgent } from '../support/agents.js';
import { environmentOf } from '../support/host-processes.js';
import { streamOf } from '../support/model-stream.js';
import { Upstream } from '../support/model-upstream.js';
import { proves } from '../support/proves.js';
import { TestRepository } from '../support/repository.js';

jest.setTimeout(300_000);

const KEY = 'sk-ant-canary-7c1f0e9b4d2a8653-never-inside';
/** The kernel's own and the host's programs. */
const ASIDE = ['/proc', '/sys', '/dev', '/usr', '/lib*', '/bin', '/sbin']
  .map((path) => `-path '${path}' -prune -o`)
  .join(' ');

/** What an agent can look at: its own and everybody's processes, every file and socket, and what they hold. */
const SEARCHES = [
  'env; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr "\\0" "\\n"; ls /proc | grep -c "^[0-9]"',
  `find / ${ASIDE} -type f -print 2>/dev/null | sort`,
  `find / ${ASIDE} -type s -print 2>/dev/null; cat /proc/net/unix /proc/net/tcp /proc/mounts`,
  `find / ${ASIDE} -type f ! -name node -print0 2>/dev/null | xargs -0 grep -aohE "sk-ant-[A-Za-z0-9_-]{8,}|\\b[0-9a-f]{64}\\b|\\b[A-Za-z0-9_-]{43}\\b" 2>/dev/null | sort -u`,
  'cat /run/capstan/task.json; git config --list --show-origin; git remote -v; cat .git; id; cat /etc/passwd; echo searched >SEARCHED.md',
];

describe('a sandbox', () => {
  const repository = new TestRepository();
  let upstream: Upstream;
  let mesh: Mesh;

  beforeAll(async () => {
    upstream = await Upstream.start((response, { body }) => {
      const turn = ((body['messages'] as unknown[]).length - 1) / 2;
      const search = SEARCHES[turn];
      const content =
        search === undefined
          ? { type: 'tool_use', id: 'toolu_end', name: 'submit', input: { summary: 'Nothing was found' } }
          : { type: 'tool_use', id: `toolu_${String(turn)}`, name: 'bash', input: { command: search } };
      streamOf(response, [content], { input: 10, output: 10 });
    });
    const model = { provider: 'anthropic' as const, apiKey: KEY, url: upstream.url };
    mesh = await Mesh.start({ instances: ['quay'], repository: repository.path, model });
  });
  afterAll(async () => {
    await mesh.stop();
    await upstream[Symbol.asyncDispose]();
    repository[Symbol.dispose]();
  });

  /** Every secret of this mesh, as it is written down or handed over. */
  function secrets(): string[] {
    const { dir, orchestrator, spoke } = mesh.instance('quay');
    const passwords = [orchestrator, spoke].map(
      ({ pid = 0 }) => /CAPSTAN_VALKEY_URL=[^\0]*:([0-9a-f]+)@/.exec(environmentOf(pid))?.[1] ?? '',
    );
    const files = [mesh.stateDir, dir].flatMap((root) => filesIn(root).filter((file) => /\.(?:key|token)$/.test(file)));
    const contents = files.map((file) => readFileSync(file, 'utf8').trim());
    const values = contents.flatMap((text) => [text, ...(text.match(/[A-Za-z0-9_+/-]{40,}/g) ?? [])]);
    expect(passwords.every((password) => password.length > 20)).toBe(true);
    expect(files.length).toBeGreaterThanOrEqual(4);
    return [KEY, mesh.hub.token, ...passwords, ...values];
  }

  it(
    'shows the agent no secret of its instance or its hub, wherever it looks',
    proves('ORC-L3', async () => {
      const { agentId } = await spawnAgent(mesh, 'quay');
      expect((await agentIn(mesh, agentId, 'failed', 'completed')).error).toBeNull();
      expect(upstream.requests).toHaveLength(SEARCHES.length + 1);
      // The key does its work, outside.
      expect(upstream.requests.every(({ headers }) => headers['x-api-key'] === KEY)).toBe(true);

      const seen = upstream.requests.map(({ body }) => JSON.stringify(body)).join('\n');
      expect(seen).toContain('/run/capstan/task.json');
      expect(seen).toContain('/run/capstan/gateway.sock');
      for (const secret of secrets()) expect(seen).not.toContain(secret);
      const { lines } = await mesh.client.logs(agentId, { limit: 5000 });
      for (const secret of secrets()) expect(JSON.stringify(lines)).not.toContain(secret);
    }),
  );

  it(
    'shares that with everything but the orchestrator: the model key is in no file and in no other process',
    proves('ORC-L3', () => {
      const { orchestrator, spoke, reaper } = mesh.instance('quay');
      expect(environmentOf(orchestrator.pid ?? 0)).toContain(KEY);
      for (const { name, pid = 0 } of [spoke, reaper, mesh.hub.process]) {
        expect([name, environmentOf(pid).length > 0]).toEqual([name, true]);
        expect([name, environmentOf(pid).includes(KEY)]).toEqual([name, false]);
      }
      const holders = filesIn(mesh.stateDir).filter((file) => readFileSync(file).includes(KEY));
      expect(holders).toEqual([]);
    }),
  );
});

/** Regular files of a size that can hold what somebody wrote down; the database's own and Node's binary aside. */
function filesIn(root: string): string[] {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !/\/(?:postgres|runtime)(?:\/|$)/.test(entry.parentPath))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((file) => (statSync(file, { throwIfNoEntry: false })?.size ?? Infinity) < 4 * 1024 * 1024);
}
