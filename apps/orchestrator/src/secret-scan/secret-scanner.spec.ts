import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { agentId } from '@capstan/protocol';
import { git, TestRepository } from '../../../../test/support/repository.js';
import { proves } from '../../../../test/support/proves.js';
import { GitRoom } from '../../test/git-room.js';
import { SCAN_FROM_SOURCE } from '../../test/scan-program.js';
import type { BareRepository } from '../git/index.js';
import { SecretScanner, sentenceOf, type ScanOrder, type ScannerOptions } from './index.js';

jest.setTimeout(120_000);

const KEY = `sk-ant-api03-${'kK7_'.repeat(15)}`;
const ISSUED = 'orchid-7-quay-mast';
const AGENT = agentId('agent-one');

describe('the secret scan of a tree that is about to be committed', () => {
  let room: GitRoom;
  let source: TestRepository;
  beforeEach(() => {
    room = new GitRoom();
    source = new TestRepository({ 'README.md': '# Quay\n', 'old.ts': `const old = '${KEY}';\n` });
  });
  afterEach(() => {
    for (const each of [room, source]) each[Symbol.dispose]();
  });

  const scanner = (options: ScannerOptions = {}) => {
    const made = new SecretScanner({ program: SCAN_FROM_SOURCE, ...options });
    made.issue(AGENT, { TOKEN: ISSUED });
    return made;
  };
  /** The order for the source's last commit over the one before. */
  const order = async (over: Partial<ScanOrder> = {}): Promise<ScanOrder> => {
    const repository: BareRepository = await room.store.open('default', source.path);
    const [base, tree] = [git(source.path, 'rev-parse', 'HEAD~1'), git(source.path, 'rev-parse', 'HEAD^{tree}')];
    return { agentId: AGENT, hasSecrets: true, repository, base, tree, texts: {}, policy: { allow: [] }, ...over };
  };
  const found = async (over: Partial<ScanOrder> = {}, by = scanner()) =>
    (await by.scan(await order(over))).map(({ where, line, rule }) => `${where}:${String(line)} ${rule}`);

  it(
    'names file and line of each, in changed files alone, and never what it is',
    proves('ORC-120', async () => {
      symlinkSync(`/x/${ISSUED}`, join(source.path, 'link'));
      source.commit('Work', {
        'src/a.ts': `one\ntwo\nconst key = '${KEY}';\n`,
        'größe.bin': `\0\0\0${KEY}`,
        'b.txt': `${'\n'.repeat(9)}${Buffer.from(ISSUED).toString('base64')}`,
        'fine.ts': 'export const x = 1;\n',
      });
      const findings = await scanner().scan(await order());
      expect(findings.map(({ where, line, rule }) => `${where}:${String(line)} ${rule}`).sort()).toEqual([
        'b.txt:10 issued-secret',
        'größe.bin:1 anthropic-key',
        'link:1 issued-secret',
        'src/a.ts:3 anthropic-key',
      ]);
      expect(sentenceOf(findings)).toMatch(/src\/a\.ts line 3 \(anthropic-key\)/);
      for (const secret of [KEY, ISSUED, 'kK7_kK7_'])
        expect(JSON.stringify(findings) + sentenceOf(findings)).not.toContain(secret);
    }),
  );

  it('says nothing of what stood there before, but of the same in another file', async () => {
    source.commit('Work', { 'old.ts': `// moved down\nconst old = '${KEY}';\n` });
    expect(await found()).toEqual([]);
    source.commit('Work', { 'new.ts': `const old = '${KEY}';\n` });
    expect(await found()).toEqual(['new.ts:1 anthropic-key']);
  });

  it(
    'looks into message, branch and author, and into the names of files, which are then not shown',
    proves('ORC-120', async () => {
      source.commit('Work', { [`${KEY}.ts`]: `const k = '${KEY}';\n` });
      const all = await found({
        texts: { 'the commit message': `Fix\n\n${KEY}`, 'the branch name': 'x', 'the author': ISSUED },
      });
      expect(all).toEqual([
        'the commit message:3 anthropic-key',
        'the author:1 issued-secret',
        'the name of changed file 1:1 anthropic-key',
        'the name of changed file 1:1 anthropic-key',
      ]);
    }),
  );

  it('lets pass what the owner excuses by path and rule, but nothing that was issued', async () => {
    source.commit('Work', { 'test/vectors/key.txt': `${KEY}\n\n${ISSUED}\n`, 'src/key.txt': KEY });
    const allow = [
      { path: 'test/vectors/*', rule: 'anthropic-key' },
      { path: 'test/vectors/*', rule: 'issued-secret' },
      { path: 'src/key.txt', rule: 'jwt' },
    ];
    expect((await found({ policy: { allow } })).sort()).toEqual([
      'src/key.txt:1 anthropic-key',
      'test/vectors/key.txt:3 issued-secret',
    ]);
  });

  it('finds it at the end of a large file, and over the edge of two pieces', async () => {
    const filler = `${'x'.repeat(79)}\n`.repeat(1 + (4 << 20) / 80);
    source.commit('Work', {
      'edge.txt': `${filler.slice(0, (4 << 20) - 20)}${KEY}\n${filler}`,
      'end.txt': `${filler}${filler}${KEY}`,
    });
    expect((await found()).map((each) => each.replace(/:\d+/, ''))).toEqual([
      'edge.txt anthropic-key',
      'end.txt anthropic-key',
    ]);
  });

  it(
    'scans a hundred files, all of them new',
    proves('ORC-120', async () => {
      const names = Array.from({ length: 100 }, (_, index) => `src/file-${String(index)}.ts`);
      const text = 'export function add(one: number, other: number): number {\n  return one + other;\n}\n'.repeat(50);
      source.commit('Work', Object.fromEntries(names.map((name) => [name, `// ${name}\n${text}`])));
      expect(await found()).toEqual([]);
    }),
  );

  it.each([
    ['the program cannot be started', { program: { file: pathToFileURL('/nonexistent/scan.js') } }],
    ['it takes too long', { timeoutMs: 1 }],
  ])('lets nothing through where %s', (_, options) =>
    proves('ORC-120', async () => {
      source.commit('Work', { 'a.ts': 'x\n' });
      await expect(found({}, scanner(options))).rejects.toMatchObject({ code: 'secret-scan-failed' });
    })(),
  );

  it.each([
    [
      'ends in the middle',
      "import { parentPort } from 'node:worker_threads'; parentPort.on('message', () => process.exit(0));",
    ],
    [
      'throws',
      "import { parentPort } from 'node:worker_threads'; parentPort.on('message', () => { throw new Error('x'); });",
    ],
    [
      'never answers',
      "import { parentPort } from 'node:worker_threads'; parentPort.on('message', () => { for (;;); });",
    ],
    [
      'answers for fewer files',
      "import { parentPort } from 'node:worker_threads'; parentPort.on('message', () => parentPort.postMessage({ places: [] }));",
    ],
    [
      'says that it failed',
      "import { parentPort } from 'node:worker_threads'; parentPort.on('message', () => parentPort.postMessage({ fault: 'RangeError' }));",
    ],
  ])('lets nothing through where the scanner %s', (_, program) =>
    proves('ORC-120', async () => {
      const directory = mkdtempSync(join(tmpdir(), 'capstan-scan-'));
      try {
        const file = join(directory, 'scan.mjs');
        writeFileSync(file, program);
        source.commit('Work', { 'a.ts': 'x\n' });
        const broken = scanner({ program: { file: pathToFileURL(file) }, timeoutMs: 3000 });
        await expect(found({}, broken)).rejects.toMatchObject({ code: 'secret-scan-failed' });
      } finally {
        rmSync(directory, { recursive: true });
      }
    })(),
  );

  it('lets nothing through where it is not known what the agent was given, or the tree cannot be read', async () => {
    source.commit('Work', { 'a.ts': 'x\n' });
    const forgetful = scanner();
    forgetful.forget(AGENT);
    await expect(found({}, forgetful)).rejects.toMatchObject({ code: 'secret-scan-failed' });
    expect(await found({ hasSecrets: false }, forgetful)).toEqual([]);
    await expect(found({ tree: 'b'.repeat(40) })).rejects.toMatchObject({ code: 'secret-scan-failed' });
  });

  it('knows the secrets of the instance itself', async () => {
    source.commit('Work', { 'a.ts': `const key = "the-key-of-the-model";\n` });
    expect(await found({}, scanner({ held: ['the-key-of-the-model'] }))).toEqual(['a.ts:1 issued-secret']);
  });
});
