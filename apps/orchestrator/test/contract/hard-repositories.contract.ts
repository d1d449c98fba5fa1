import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { basename } from 'node:path';
import { proves } from '../../../../test/support/proves.js';
import { git, TestRepository } from '../../../../test/support/repository.js';
import { until } from '../../../../test/support/until.js';
import { HardRoom, repositoriesWith } from '../hard-room.js';
import { SmallDisk } from '../small-disk.js';
import type { TestSandbox } from '../test-sandbox.js';

/** What every sandbox owes to work and to disks that are not as one would wish. */
export function hardRepositoriesContract(sandbox: TestSandbox): void {
  describe('an agent whose work is hard to take in', () => {
    let room: HardRoom;
    let source: TestRepository;

    beforeAll(async () => (room = await HardRoom.start(sandbox)));
    afterAll(() => room[Symbol.asyncDispose]());
    beforeEach(() => (source = new TestRepository()));
    afterEach(() => source[Symbol.dispose]());

    it(
      'has names taken in as they are, and shows them so that each is plain text',
      proves('ORC-110', async () => {
        const remote = room.remoteOf(source);
        const { harvest } = await room.execution.agentIn(await room.spawn(remote, 'names'), 'completed');
        const quoted = ['"caf\\351"', '"line\\012end"', '"tab\\011\\"quote\\""', '-option'];
        expect([...(harvest?.files ?? [])].sort()).toEqual(quoted.sort());
        const names = execFileSync('git', ['-C', remote, 'ls-tree', '-z', '--name-only', harvest?.commit ?? '']);
        expect(names.includes(Buffer.from('caf\xe9\0', 'latin1')) && names.includes('line\nend\0')).toBe(true);
        // The next agent is given them.
        const again = await room.execution.agentIn(
          await room.spawn(remote, 'write', { branch: harvest?.branch ?? '' }),
          'completed',
        );
        expect(again.harvest?.files).toEqual(['done.md']);
      }),
    );

    it(
      'ends as harvest-refused where it leaves two gigabytes; the rest of its work is saved, and its log names the file',
      proves(['ORC-110', 'ORC-111'], async () => {
        const remote = room.remoteOf(source);
        const id = await room.spawn(remote, 'huge');
        expect((await room.failed(id))?.code).toBe('harvest-refused');
        expect(await room.salvaged(id, 'half.md')).toBe('half of it');
        expect(await room.execution.textOf(id)).toContain('too large: huge.');
      }),
    );
  });

  // A file system of its own needs root.
  (process.getuid?.() === 0 ? describe : describe.skip)('an agent whose instance has no room on its disk', () => {
    const error = { code: 'disk-full', sentence: "The instance's disk is full." };
    const held = new AsyncDisposableStack();
    let room: HardRoom;
    let disk: SmallDisk;

    beforeAll(async () => {
      room = held.use(await HardRoom.start(sandbox));
      disk = held.use(SmallDisk.mount(2, room.execution.settings.paths.repositories));
    });
    afterAll(() => held.disposeAsync());

    it(
      'ends as disk-full where there is none for its work, which is saved as soon as there is some',
      proves(['ORC-110', 'ORC-111'], async () => {
        const { execution } = room;
        const id = await execution.spawn('large');
        expect(await room.failed(id)).toEqual(error);
        const text = (): Promise<string> => execution.textOf(id);
        await until('its log says so', async () => (await text()).includes('not be saved yet') || undefined, 120_000);
        expect(await execution.store.untidy()).toContain(id);
        disk.resize(64);
        await until('it is saved', async () => (await execution.store.untidy()).length === 0 || undefined, 120_000);
        const [repository = ''] = repositoriesWith(disk.path, `refs/capstan/salvage/${id}`);
        expect(git(repository, 'cat-file', '-s', `refs/capstan/salvage/${id}:noise`)).toBe('3000000');
      }),
    );

    it.each([
      ['none', 0],
      ['less than it takes', 1 << 20],
    ])(
      'is tried again as its spawn allows where there is %s to clone into, and completes when there is more',
      (_, left) =>
        proves(['ORC-108', 'ORC-110'], async () => {
          using source = new TestRepository({ noise: randomBytes(3 << 20).toString('base64') });
          const remote = room.remoteOf(source);
          const { execution } = room;
          disk.resize(64);
          disk.fill(left);
          const patient = await room.spawn(remote, 'write', { options: { maxRetries: 10 } });
          const told = "Start 1 failed: The instance's disk is full. It is tried again.";
          const text = (): Promise<string> => execution.textOf(patient);
          await until('its log says so', async () => (await text()).includes(told) || undefined, 120_000);
          const other = await room.spawn(remote, 'write', { options: { maxRetries: 1 } });
          expect(await room.failed(other)).toEqual(error);
          expect((await execution.textOf(other)).match(/^Start \d failed: .*$/gm)).toEqual([
            told,
            "Start 2 failed: The instance's disk is full.",
          ]);
          expect((await execution.store.find(patient))?.error).toBeNull();
          disk.free();
          expect((await execution.agentIn(patient, 'completed')).harvest?.files).toEqual(['done.md']);
          expect(tornBelow(disk.path)).toEqual([]);
          await execution.isClean(sandbox);
        })(),
    );
  });
}

/** Pieces of packs that a fetch has left below a directory. */
function tornBelow(directory: string): string[] {
  const names = readdirSync(directory, { recursive: true, encoding: 'utf8' });
  return names.filter((name) => basename(name).startsWith('tmp_'));
}
