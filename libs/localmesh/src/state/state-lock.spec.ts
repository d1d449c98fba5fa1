import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { processIdentity } from '../process/process-identity.js';
import { lockHolder, StateLock, stopHolder } from './state-lock.js';

describe('the lock of a state directory', () => {
  let directory: string;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'capstan-lock-'));
  });
  afterEach(() => {
    rmSync(directory, { recursive: true, force: true });
  });

  it('refuses a second mesh, and says who runs the first and what to do', () => {
    using lock = StateLock.take(directory);
    expect(lock).toBeDefined();
    const second = (): unknown => StateLock.take(directory);
    expect(second).toThrow(expect.objectContaining({ code: 'already-running' }));
    for (const part of [String(process.pid), directory, 'capstan down', '--port']) {
      expect(second).toThrow(expect.objectContaining({ sentence: expect.stringContaining(part) as string }));
    }
    expect(lockHolder(directory)?.pid).toBe(process.pid);
  });

  it('is free again once it is let go, and leaves nothing behind', () => {
    StateLock.take(directory)[Symbol.dispose]();
    expect(lockHolder(directory)).toBeNull();
    expect(readdirSync(directory)).toEqual([]);
    using again = StateLock.take(directory);
    expect(again).toBeDefined();
  });

  it.each([
    [
      'of a pid that is another process by now',
      JSON.stringify({ pid: process.pid, identity: 'another-boot:1', startedAt: 'then' }),
    ],
    ['of a process that ended', JSON.stringify({ pid: 4_000_000, identity: 'x:1', startedAt: 'then' })],
    ['that is damaged', '{"pid":'],
    ['that is empty', ''],
  ])('counts for nothing %s', (_, text) => {
    writeFileSync(join(directory, 'mesh.lock'), text);
    expect(lockHolder(directory)).toBeNull();
    using lock = StateLock.take(directory);
    expect(lockHolder(directory)?.pid).toBe(process.pid);
    expect(lock).toBeDefined();
  });

  it('ends the process that holds it, and waits until it is gone', async () => {
    const child = spawn('sleep', ['60'], { stdio: 'ignore' });
    await once(child, 'spawn');
    const holder = { pid: child.pid ?? 0, identity: processIdentity(child.pid ?? 0) ?? '', startedAt: '' };
    expect(await stopHolder(holder, 5000)).toBe(true);
    expect(await stopHolder(holder, 0)).toBe(true);
  });
});
