import { proves } from '../../../../test/support/proves.js';
import { branchName, objectId } from './refs.js';

describe('a branch name', () => {
  it.each(['main', 'capstan/task-1', 'feature/ünïcode_2', 'release-1.2.x'])('may be %s', (name) => {
    expect(branchName(name)).toBe(name);
  });

  it.each([
    ['an option', '--upload-pack=touch /tmp/owned'],
    ['a way up', '../../config'],
    ['a revision expression', 'main@{1}'],
    ['two refs', 'main:refs/heads/other'],
    ['a glob', 'refs/*'],
    ['a lock', 'main.lock'],
    ['a line', 'main\nother'],
    ['empty', ''],
  ])('is never %s', (_what, name) =>
    proves('SEC-02', () => {
      expect(() => branchName(name)).toThrow(expect.objectContaining({ code: 'branch-missing' }) as Error);
    })(),
  );
});

describe('an object id', () => {
  it.each(['HEAD', 'abc', `${'0'.repeat(40)}^{tree}`, '-'.repeat(40)])('is never %s', (text) => {
    expect(() => objectId(text)).toThrow('no object id');
  });
});
