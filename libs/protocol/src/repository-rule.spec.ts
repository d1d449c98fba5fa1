import { allowsRepository, coversRepositoryRule } from './repository-rule.js';

const PARTS = ['a', 'b', '..', '%2e.', ''];
const PATHS = ['', ...PARTS, ...PARTS.flatMap((one) => PARTS.map((two) => `${one}/${two}`))];
/** Every rule of at most two parts. */
const RULES = PATHS.flatMap((path) => [`/${path}`, `/${path}/*`]);

describe('repository rules', () => {
  it.each([
    ['/srv/one', '/srv/one', true],
    ['/srv/*', '/srv/one', true],
    ['/srv/*', '/srv/one/two', true],
    ['/srv/*', '/srv/', false],
    ['/srv/*', '/srv', false],
    ['/srv/*', '/srv/../etc', false],
    ['/srv/*', '/srv/%2E%2e/etc', false],
    ['/srv/*', '/srvother', false],
    ['/srv/one', '/srv/one/two', false],
  ])('%s allows %s: %s', (allowed, repository, expected) => {
    expect(allowsRepository(allowed, repository)).toBe(expected);
  });

  it.each([
    ['/srv/*', '/srv/team/*', true],
    ['/srv/*', '/srv/team', true],
    ['/srv/*', '/srv/*', true],
    ['/srv', '/srv/*', false],
    ['/srv/team/*', '/srv/*', false],
    ['/srv/*', '/srv/../*', false],
    ['/srv/one', '/srv/one/*', false],
  ])('%s covers %s: %s', (wide, narrow, expected) => {
    expect(coversRepositoryRule(wide, narrow)).toBe(expected);
  });

  it('never covers a rule that allows more', () => {
    let covered = 0;
    for (const wide of RULES) {
      for (const narrow of RULES.filter((rule) => rule !== wide && coversRepositoryRule(wide, rule))) {
        for (const repository of RULES.filter((rule) => allowsRepository(narrow, rule))) {
          covered += 1;
          expect([wide, narrow, repository, allowsRepository(wide, repository)]).toEqual([
            wide,
            narrow,
            repository,
            true,
          ]);
        }
      }
    }
    expect(covered).toBeGreaterThan(10);
  });
});
