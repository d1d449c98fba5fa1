import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Mesh } from '@capstan/localmesh';
import { hasProcess } from '@capstan/sandbox';
import { agentIn, completed, receiptOf } from '../support/agents.js';
import { bundle } from '../support/bundle.js';
import { placeOf } from '../support/host-processes.js';
import { proves } from '../support/proves.js';
import { git, TestRepository } from '../support/repository.js';
import { TestDocker } from '../support/test-docker.js';
import { until } from '../support/until.js';

jest.setTimeout(600_000);

/** Waits; the rest of it is read from its files once it may go on. */
const WAIT = `cat >TOLD.md
echo "at work"
until git rev-parse --quiet --verify refs/capstan/test-go >/dev/null; do sleep 0.2; done
. /opt/program/rest.sh
`;
/** Writes what looks like a key, and takes it out where it is told of it. */
const REST = `if grep -q "sent back" TOLD.md; then echo mended >CONFIG.md
else printf 'key = "sk-%s-api03-%s"\\n' ant "$(head -c 60 /dev/zero | tr '\\0' k)" >CONFIG.md; fi
echo "Told"
`;

describe("an instance whose agents are the owner's programs, in Docker", () => {
  const room = mkdtempSync(join(tmpdir(), 'capstan-programs-'));
  const repository = new TestRepository();
  let docker: TestDocker;
  let mesh: Mesh;
  let policyFile: string;
  let policy: string;

  beforeAll(async () => {
    docker = await TestDocker.start();
    const sandbox = { driver: 'docker', socketPath: docker.socketPath } as const;
    const runtimes = ['claude', 'waiting', 'speaking'];
    mesh = await Mesh.start({ instances: ['quay'], repository: repository.path, sandbox, policy: { runtimes } });
    const [scripts, speakers] = [join(room, 'scripts'), join(room, 'speakers')];
    for (const directory of [scripts, speakers]) mkdirSync(directory, { mode: 0o700 });
    writeFileSync(join(scripts, 'wait.sh'), WAIT, { mode: 0o600 });
    writeFileSync(join(scripts, 'rest.sh'), REST, { mode: 0o600 });
    await bundle('apps/orchestrator/test/acp-agent.mjs', join(speakers, 'writing.mjs'));
    const programs = {
      waiting: { kind: 'command', directory: scripts, run: ['/bin/sh', '/opt/program/wait.sh'], mends: 1 },
      speaking: {
        kind: 'acp',
        directory: speakers,
        run: ['/opt/capstan/node', '/opt/program/writing.mjs'],
        allow: ['edit'],
      },
    };
    policyFile = join(mesh.instance('quay').dir, 'policy.yaml');
    policy = readFileSync(policyFile, 'utf8');
    // JSON is YAML.
    writeFileSync(policyFile, `${policy}programs: ${JSON.stringify(programs)}\n`);
  });
  afterAll(async () => {
    await mesh.stop();
    await docker[Symbol.asyncDispose]();
    repository[Symbol.dispose]();
    rmSync(room, { recursive: true, force: true });
  });

  const says = async (agentId: string, words: RegExp): Promise<boolean> =>
    (await mesh.client.logs(agentId)).lines.some(({ text }) => words.test(text));
  const begin = async (runtime: string, workItem: string): Promise<string> => {
    const context = { repository: mesh.repository?.path ?? '', workItems: [workItem] };
    const { agentId } = await mesh.client.spawn({ instance: 'quay', agentType: 'worker', runtime, context });
    await agentIn(mesh, agentId, 'running');
    await until('it waits', () => says(agentId, /at work|I wait/), 60_000);
    return agentId;
  };
  const letGo = (): void => {
    const root = join(mesh.instance('quay').dir, 'repositories');
    const bare = join(root, readdirSync(root).find((name) => name.endsWith('.git')) ?? '');
    git(bare, 'update-ref', 'refs/capstan/test-go', git(bare, 'rev-parse', 'refs/remotes/origin/main'));
  };
  const file = (branch: string | undefined, path: string): string =>
    git(mesh.repository?.path ?? '', 'show', `${branch ?? ''}:${path}`);

  it(
    'takes them over, whose files are still theirs: a command and one that speaks the Agent Client Protocol',
    proves(['ORC-106', 'ORC-109', 'ORC-L4'], async () => {
      const [command, speaking] = [
        await begin('waiting', 'Keep it.'),
        await begin('speaking', 'Keep a log, and wait.'),
      ];
      const held = await Promise.all([command, speaking].map((id) => placeOf(mesh.instance('quay'), id)));
      const inits = held.flatMap((place) => place?.processes ?? []);
      expect(inits).toHaveLength(2);
      // They need no leave for what they are already.
      writeFileSync(policyFile, policy);
      mesh.instance('quay').orchestrator.kill('SIGKILL');
      for (const id of [command, speaking])
        await until('it goes on', () => says(id, /restarted; the agent goes on/).catch(() => false), 60_000);
      expect(inits.filter(hasProcess)).toEqual(inits);
      letGo();
      const [told, spoke] = [await completed(mesh, command), await completed(mesh, speaking)];
      expect(told.harvest?.files).toEqual(['CONFIG.md', 'TOLD.md']);
      expect(file(told.harvest?.branch, 'CONFIG.md')).toBe('mended');
      expect(file(told.harvest?.branch, 'TOLD.md')).toContain('sent back');
      expect(spoke.harvest?.files).toEqual(['LOG.md']);
      expect(file(spoke.harvest?.branch, 'LOG.md')).toMatch(/^once\n/);
      for (const id of [command, speaking])
        expect(await receiptOf(mesh, id, 'finished')).toMatchObject({ verified: true });
      await until('no container is left', async () => (await docker.containers()).length === 0, 60_000);
    }),
  );
});
