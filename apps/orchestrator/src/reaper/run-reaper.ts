import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { setPriority } from 'node:os';
import { join } from 'node:path';
import { KeyRing, SigningKey } from '@capstan/identity';
import { instanceId, LocalFault } from '@capstan/protocol';
import { lockInstance } from './instance-lock.js';
import { hostClock, type Clock } from './lease/clock.js';
import { loadHubPin, savePin } from './lease/hub-pin.js';
import { Reaper } from './reaper.js';
import { ReaperServer } from './server/server.js';

/** Before everything else on the host; and the last that the kernel ends when memory runs out. */
const NICENESS = -10;
const OOM_SCORE = '-900';

/**
 * The reaper's process: it kills agents and observes that they are gone when everything else of the instance hangs.
 *
 * CAPSTAN_INSTANCE_DIR names the instance: `instance.json` and `reaper.key` in it, the register in `reaper/`, the
 * socket in `run/`. Log: one JSON line each on standard error. Resolves when it was told to end, or could not start.
 */
export async function runReaper(clock: Clock = hostClock): Promise<void> {
  try {
    await run(clock);
  } catch (error) {
    report(error);
    process.exitCode = 1;
  }
}

async function run(clock: Clock): Promise<void> {
  const directory = process.env['CAPSTAN_INSTANCE_DIR'];
  if (directory === undefined || directory === '') {
    throw new LocalFault('config', 'CAPSTAN_INSTANCE_DIR must name the directory of the instance.');
  }
  for (const room of ['reaper', 'run']) await mkdir(join(directory, room), { recursive: true, mode: 0o700 });
  await using _lock = await lockInstance(join(directory, 'reaper', 'lock'));
  const raised = await raisePriority();
  const hubKeys = new KeyRing((await loadHubPin(directory)).records(), () => clock().wallMs);
  const reaper = await Reaper.open({
    file: join(directory, 'reaper', 'register'),
    instanceId: await readInstanceId(directory),
    key: await SigningKey.loadOrCreate(join(directory, 'reaper.key')),
    hubKeys,
    saveHubKeys: (keys) => savePin(directory, keys.records()),
    clock,
    report,
  });
  const server = new ReaperServer(reaper, report);
  await server.listen(join(directory, 'run', 'reaper.sock'));
  log('info', 'reaper-ready', { pid: process.pid, ...raised, hubKeys: hubKeys.records().length });
  await new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, resolve);
  });
  await server.close();
  await reaper.close();
  log('info', 'reaper-stopped', {});
}

async function readInstanceId(directory: string): Promise<string> {
  const file = join(directory, 'instance.json');
  let found: unknown;
  try {
    found = JSON.parse(await readFile(file, 'utf8'));
  } catch (error) {
    throw new LocalFault('instance-missing', 'The instance has not joined a hub yet.', file, { cause: error });
  }
  const id = typeof found === 'object' && found !== null && 'instanceId' in found ? found.instanceId : undefined;
  if (typeof id !== 'string') throw new LocalFault('instance-malformed', 'instance.json names no instance.', file);
  return instanceId(id);
}

/** Where it is not allowed, the reaper runs as everybody does, and says so. */
async function raisePriority(): Promise<{ priorityRaised: boolean; oomProtected: boolean }> {
  let priorityRaised = true;
  try {
    setPriority(NICENESS);
  } catch {
    priorityRaised = false;
  }
  const oomProtected = await writeFile('/proc/self/oom_score_adj', OOM_SCORE).then(
    () => true,
    () => false,
  );
  return { priorityRaised, oomProtected };
}

function report(error: unknown): void {
  const fault = error instanceof Error ? error : new Error(String(error));
  const cause = fault.cause instanceof Error ? { cause: fault.cause.message } : {};
  log('error', 'reaper-fault', { message: fault.message, ...cause });
}

function log(level: 'info' | 'error', event: string, fields: object): void {
  process.stderr.write(
    `${JSON.stringify({ level, time: new Date().toISOString(), name: 'reaper', event, ...fields })}\n`,
  );
}
