import { proves } from '../../../../test/support/proves.js';
import { repositorySource } from './repository-source.js';

describe('a repository’s source', () => {
  it.each([
    ['/srv/remotes/one.git', 'file:///srv/remotes/one.git'],
    ['file:///srv/remotes/one.git', 'file:///srv/remotes/one.git'],
    ['https://git.example/team/one.git', 'https://git.example/team/one.git'],
    ['ssh://git@git.example/team/one.git', 'ssh://git@git.example/team/one.git'],
    ['git@git.example:team/one.git', 'git@git.example:team/one.git'],
  ])('may be %s', (text, url) => {
    expect(repositorySource(text).url).toBe(url);
  });

  it.each([
    ['a program', 'ext::sh -c "touch /tmp/owned"'],
    ['a descriptor', 'fd::7'],
    ['a host that is an option', 'ssh://-oProxyCommand=touch/one.git'],
    ['a path that is an option', 'git.example:-oProxyCommand=touch'],
    ['an option', '--upload-pack=touch'],
    ['in the clear', 'http://git.example/one.git'],
    ['with a password', 'https://git:secret@git.example/one.git'],
    ['on another machine’s file system', 'file://elsewhere/srv/one.git'],
    ['a way up', '/srv/remotes/../secret'],
    ['two lines', '/srv/one\n/srv/two'],
    ['relative', 'one.git'],
  ])('is never %s', (_what, text) =>
    proves('SEC-02', () => {
      expect(() => repositorySource(text)).toThrow(expect.objectContaining({ code: 'repository-missing' }) as Error);
    })(),
  );
});
