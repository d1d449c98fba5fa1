import { readFile, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import { proves } from '../../../../test/support/proves.js';
import { until } from '../../test/processes.js';
import { TestInstance } from '../../test/test-instance.js';

// Real processes on a machine that may be busy: the limit is for what hangs, not for what is slow.
jest.setTimeout(60_000);

function readiness(dir: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath: join(dir, 'run', 'spoke.sock'), path: '/health/ready' }, (answer) => {
      answer.resume();
      resolve(answer.statusCode ?? 0);
    });
    asked.once('error', reject);
    asked.end();
  });
}

test(
  'with a damaged audit log the spoke kills, says that it is not well, and does nothing else',
  proves('FED-18', async () => {
    await using instance = await TestInstance.start();
    const { hub, dir, spoke, orchestrator } = instance;
    const file = join(dir, 'audit', 'spoke.log');
    const agentId = 'agent-before';
    const spawn = instance.spawn({ agentId });
    await hub.send(spawn);
    await instance.receipt(spawn, 'spawned');
    expect(await readiness(dir)).toBe(200);

    await spoke.stop('SIGKILL');
    const damaged = await readFile(file);
    damaged[80] = (damaged[80] ?? 0) ^ 1;
    await writeFile(file, damaged);
    await spoke.start();

    expect(await readiness(dir)).toBe(503);
    const refused = instance.spawn();
    const digest = await hub.send(refused);
    const rejection = await until(() => hub.rejected.find((each) => each.digest === digest), 'the rejection');
    expect(rejection).toMatchObject({ code: 'audit-unavailable', retryable: true });
    expect(orchestrator.offered).toEqual([agentId]);

    const kill = hub.command({ case: 'kill', value: { agentId, reason: 'now' } });
    await hub.send(kill, 'kill');
    expect((await instance.receipt(kill, 'killed')).observation).toMatchObject({ agentId, outcome: 'tombstoned' });
    // It is evidence: not a byte of it is changed.
    expect(await readFile(file)).toEqual(damaged);
    expect(spoke.output).toContain('nothing but kills is done from now on');
  }),
);
