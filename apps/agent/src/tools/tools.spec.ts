import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bashTool } from './bash.js';
import { editTool } from './edit.js';
import { TailBuffer } from './tail-buffer.js';

const signal = new AbortController().signal;

describe('the tools of an agent', () => {
  let directory: string;
  beforeEach(() => (directory = mkdtempSync(join(tmpdir(), 'capstan-tools-'))));
  afterEach(() => rmSync(directory, { recursive: true }));

  const bash = (command: string, more: object = {}, until = signal) =>
    bashTool(directory).run({ command, ...more }, until);
  const edit = (input: object) => editTool(directory).run(input, signal);

  describe('bash', () => {
    it('returns both outputs of a command in the work tree', async () => {
      expect(await bash('pwd; echo complaint >&2')).toEqual({ text: `${directory}\ncomplaint`, isError: false });
    });

    it('says how a command failed', async () => {
      expect(await bash('echo before; exit 7')).toEqual({ text: 'before\n[exit code 7]', isError: true });
      expect(await bash('kill -9 $$')).toEqual({ text: '\n[ended by SIGKILL]', isError: true });
    });

    it('ends a command that takes too long, with all that it started', async () => {
      const outcome = await bash('sleep 60 | sleep 60 & echo $! > pid; wait', { timeout_seconds: 0.2 });
      expect(outcome).toEqual({ text: '\n[stopped: the time limit has passed]', isError: true });
      expect(existsSync(`/proc/${readFileSync(join(directory, 'pid'), 'utf8').trim()}/cwd`)).toBe(false);
    });

    it('ends when the agent’s own time is over', async () => {
      const over = new AbortController();
      const running = bash('echo begun; sleep 60', {}, over.signal);
      over.abort();
      expect((await running).isError).toBe(true);
    });

    it('does not wait for what a command leaves in the background', async () => {
      expect(await bash('sleep 3 & echo done')).toEqual({ text: 'done', isError: false });
    });

    it('keeps beginning and end of much output', async () => {
      const { text } = await bash('echo first; head -c 3000000 /dev/zero | tr "\\0" x; echo last');
      expect(text.length).toBeLessThan(31_000);
      expect(text).toMatch(/^first\nx+\n\[… \d+ characters left out …\]\nx+last$/);
    });

    it('tells programs nothing of the way to the model', async () => {
      process.env['ANTHROPIC_BASE_URL'] = 'secret';
      expect((await bash('env')).text).not.toContain('secret');
      delete process.env['ANTHROPIC_BASE_URL'];
    });

    it.each([[{}], [{ command: 7 }], [{ command: 'a\0b' }], [{ command: 'true', timeout_seconds: -1 }], [null]])(
      'refuses the input %j',
      async (input) => {
        expect((await bashTool(directory).run(input, signal)).isError).toBe(true);
      },
    );
  });

  describe('edit', () => {
    it('writes a file with its directories, and replaces one piece of text as it is', async () => {
      expect(await edit({ path: 'a/b.txt', content: 'one two\n' })).toMatchObject({ isError: false });
      expect(await edit({ path: 'a/b.txt', old: 'two', new: '$& $1' })).toMatchObject({ isError: false });
      expect(readFileSync(join(directory, 'a/b.txt'), 'utf8')).toBe('one $& $1\n');
    });

    it.each([
      [{ old: 'x', new: 'y' }, 'does not hold'],
      [{ old: 'a', new: 'y' }, 'more than once'],
      [{ old: '', new: 'y' }, 'give either'],
      [{}, 'give either'],
    ])('refuses %j', async (change, why) => {
      await edit({ path: 'file', content: 'aaa' });
      expect(await edit({ path: 'file', ...change })).toEqual({ isError: true, text: expect.stringContaining(why) });
      expect(readFileSync(join(directory, 'file'), 'utf8')).toBe('aaa');
    });

    it.each(['../out', '/etc/passwd', '.', 'a/../../out', '', 'a\0b'])('refuses the path %j', async (path) => {
      expect(await edit({ path, content: 'x' })).toMatchObject({ isError: true });
    });

    it('says what the system said', async () => {
      await edit({ path: 'file', content: 'x' });
      expect(await edit({ path: 'file/inner', content: 'x' })).toEqual({
        isError: true,
        text: expect.stringMatching(/ENOTDIR|EEXIST/),
      });
    });
  });

  it('a tail buffer drops from the middle only', () => {
    const buffer = new TailBuffer(10);
    for (const piece of ['abc', 'defg', 'hij', 'klmnop']) buffer.push(Buffer.from(piece));
    expect(buffer.text()).toBe('abcde\n[… 6 characters left out …]\nlmnop');
  });
});
