import { enforcedOn, killGroupOf } from './enforced.js';

describe('what is enforced on a process', () => {
  it('is what its control groups say, not what was asked for', () => {
    const asked = { memoryBytes: 12_345_678_901, pids: 76_543, cpus: 0.37, diskBytes: 98_765 };
    expect(enforcedOn(process.pid, asked, false)).toMatchObject({
      memory: false,
      pids: false,
      cpus: false,
      disk: false,
      ownUid: false,
    });
  });

  it('finds no group to kill for a process that is no container’s', () => {
    expect(killGroupOf(process.pid)).toBe('');
  });
});
