import { execFileSync } from 'node:child_process';
import { bootTimeMs } from './boot-time.js';

const NAMESPACE = ['--user', '--map-root-user', '--time', '--boottime', '5000'];
const canShiftTime = attempt(() => execFileSync('unshare', [...NAMESPACE, 'true'], { stdio: 'ignore' }));

describe('the time since boot', () => {
  it('goes on, and is that of the system', () => {
    const first = bootTimeMs();
    const system = Number(execFileSync('cat', ['/proc/uptime'], { encoding: 'latin1' }).split(' ')[0]) * 1000;
    const second = bootTimeMs();
    expect(system).toBeGreaterThanOrEqual(first);
    expect(second).toBeGreaterThanOrEqual(system - 1);
  });

  // Suspend is what makes the two clocks differ; a time namespace can move the one without the other as well.
  (canShiftTime ? it : it.skip)('is CLOCK_BOOTTIME, not the monotonic clock', () => {
    const script = 'console.log(require("fs").readFileSync("/proc/uptime","latin1"), process.hrtime()[0])';
    const shifted = execFileSync('unshare', [...NAMESPACE, process.execPath, '-e', script], { encoding: 'latin1' });
    const [uptime = NaN, , monotonic = NaN] = shifted.trim().split(/\s+/).map(Number);
    expect(uptime * 1000 - bootTimeMs()).toBeGreaterThan(4_990_000);
    expect(monotonic - process.hrtime()[0]).toBeLessThan(100);
  });
});

function attempt(act: () => unknown): boolean {
  try {
    act();
    return true;
  } catch {
    return false;
  }
}
