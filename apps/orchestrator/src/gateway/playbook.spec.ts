import { parsePlaybook } from './playbook.js';

describe('a playbook', () => {
  it.each([
    ['another version', 'version: 2\nturns: []', 'version must be 1'],
    ['an unknown word', 'version: 1\nturns: []\nsteps: []', 'steps means nothing here'],
    ['no turns', 'version: 1', 'must be a list'],
    ['a call without a tool', 'version: 1\nturns: [{ calls: [{ as: x }] }]', 'turn 1: must be text'],
    ['a name that is none', 'version: 1\nturns: [{ calls: [{ as: "X Y", tool: bash }] }]', 'cannot name a call'],
    [
      'a condition that is none',
      'version: 1\nturns: [{ when: { sun: shines } }]',
      'turn 1, when: sun means nothing here',
    ],
    ['nothing', '', 'must be a mapping'],
  ])('is refused for %s, with the place', (_, yaml, fault) => {
    expect(() => parsePlaybook('test', yaml)).toThrow(fault);
  });

  it('chooses between alternatives by what really happened', () => {
    const { turns } = parsePlaybook(
      'test',
      'version: 1\nturns: [{ any: [{ when: { failed: [a] }, say: no }, { say: yes it is }] }]',
    );
    expect(turns[0]?.map(({ say }) => say)).toEqual(['no', 'yes it is']);
  });
});
