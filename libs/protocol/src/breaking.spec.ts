import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { proves } from '../../../test/support/proves.js';

const root = process.cwd();
const baseline = join(root, 'proto/baseline/protocol-1.binpb');
let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'capstan-proto-'));
  cpSync(join(root, 'proto'), directory, { recursive: true });
});
afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

/** What the step "proto breaking" of `npm run verify` says of the copy. */
function compare(): { passed: boolean; said: string } {
  const buf = join(root, 'node_modules/.bin/buf');
  const { status, stdout, stderr } = spawnSync(buf, ['breaking', directory, '--against', baseline], {
    encoding: 'utf8',
  });
  return { passed: status === 0, said: `${stdout}${stderr}` };
}

function change(file: string, find: string, replace: string): void {
  const path = join(directory, 'capstan/v1', file);
  const text = readFileSync(path, 'utf8');
  expect(text.split(find)).toHaveLength(2);
  writeFileSync(path, text.replace(find, replace));
}

test(
  'a change of the wire that an older peer could not read is noticed',
  proves('FED-20', () => {
    change('link.proto', 'uint64 session_epoch = 5;', 'uint32 session_epoch = 5;');
    change('link.proto', '  Proof proof = 3;\n', '');
    const { passed, said } = compare();
    expect(passed).toBe(false);
    expect(said).toMatch(/"session_epoch" on message "Hello" changed type/);
    expect(said).toMatch(/field "3" with name "proof" on message "Frame" was deleted/);
  }),
);

test('what is only added passes', () => {
  change('link.proto', 'uint64 session_epoch = 5;', 'uint64 session_epoch = 5;\n  string remark = 100;');
  expect(compare()).toEqual({ passed: true, said: '' });
});
