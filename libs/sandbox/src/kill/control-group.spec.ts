import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { until } from '../../../../test/support/until.js';
import { makeGroups, removeControlGroups } from '../cgroup/agent-groups.js';
import { kindsOfGroups, signalReadOnly, type GroupKind } from '../contract/support.js';
import { groupMembers, killGroup } from './control-group.js';
import { bootId } from './process.js';

jest.setTimeout(60_000);

const UID = 234_570;

const kinds = kindsOfGroups();
const withGroups = kinds.length > 0 ? describe.each(kinds) : describe.skip.each(['none']);

withGroups('a control group of %s that may only be read', (kind) => {
  let group: string;
  let agent: ChildProcess;

  beforeEach(async () => {
    group = makeGroups({ agentId: `read-${randomUUID()}`, owner: 'control-group' }, {}, kind as GroupKind).main;
    expect(group).not.toBe('');
    agent = spawn('/bin/sh', ['-c', 'trap "" TERM; read -r line; sleep 1000 & sleep 1000 & wait'], {
      stdio: ['pipe', 'ignore', 'ignore'],
      uid: UID,
    });
    await once(agent, 'spawn');
    writeFileSync(join(group, 'cgroup.procs'), String(agent.pid));
    agent.stdin?.end('begin\n');
    await until('the agent has its processes', () => groupMembers(group).length === 3);
  });
  afterEach(async () => {
    await killGroup(group);
    if (agent.exitCode === null && agent.signalCode === null) await once(agent, 'exit');
    await removeControlGroups(group);
  });

  const untilGone = (): Promise<unknown> => until('nothing of it is left', () => groupMembers(group).length === 0);

  // Once a kill ended at the group, with not a single signal sent.
  it('is signalled all the same where it is mounted so', async () => {
    await signalReadOnly({ driver: 'docker', bootId: bootId(), processes: [], pidNamespace: 0n, cgroup: group });
    await untilGone();
  });

  it('is signalled all the same where it is somebody else’s', async () => {
    process.seteuid?.(UID);
    try {
      await killGroup(group);
    } finally {
      process.seteuid?.(0);
    }
    await untilGone();
  });
});
