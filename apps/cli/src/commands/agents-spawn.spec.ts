import { spawnBody } from './agents-spawn.js';

const ORDER = { repo: 'https://git.example/quay.git', item: ['Do it'], type: 'worker', runtime: 'claude' } as const;

describe('the order that the options of a spawn ask for', () => {
  it('names a sandbox only where one was asked for', () => {
    const order = { ...ORDER, item: [...ORDER.item], tenant: 'default' };
    expect(spawnBody('quay', order)).not.toHaveProperty('options');
    expect(spawnBody('quay', { ...order, sandbox: 'docker' })).toMatchObject({ options: { sandbox: 'docker' } });
  });
});
