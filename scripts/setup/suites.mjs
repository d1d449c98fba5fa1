import { join } from 'node:path';
import { root } from './paths.mjs';

/** Which suites cannot run without which part, by the beginning of their paths. A part that is not here all need. */
const NEEDED_BY = {
  'Valkey (or Redis)': [
    'test/mesh/',
    'test/conformance/',
    'apps/hub/src/replicas/',
    'apps/orchestrator/src/api/',
    'apps/orchestrator/src/gateway/spend-ledger.spec.ts',
    'apps/orchestrator/src/killswitch/',
    'apps/orchestrator/src/monitor/stalls.spec.ts',
    'apps/orchestrator/src/orchestrator.spec.ts',
    'apps/orchestrator/src/queue/',
    'apps/orchestrator/src/secrets/',
    'apps/orchestrator/src/spawner/',
    'apps/orchestrator/src/valkey/',
    'apps/spoke/src/commands/',
    'apps/spoke/src/enrollment/',
    'apps/spoke/src/kill/',
    'apps/spoke/src/ledger/',
    'libs/localmesh/src/servers.spec.ts',
  ],
  bubblewrap: [
    'test/mesh/',
    'test/conformance/',
    'test/reaper/',
    'apps/orchestrator/src/api/',
    'apps/orchestrator/src/git/',
    'apps/orchestrator/src/killswitch/',
    'apps/orchestrator/src/monitor/stalls.spec.ts',
    'apps/orchestrator/src/orchestrator.spec.ts',
    'apps/orchestrator/src/reaper/reaper.spec.ts',
    'apps/orchestrator/src/reaper/register-room.spec.ts',
    'apps/orchestrator/src/secret-scan/',
    'apps/orchestrator/src/secrets/',
    'apps/orchestrator/src/spawner/',
    'apps/orchestrator/test/',
    'apps/spoke/src/lease/',
    'libs/sandbox/src/bubblewrap/',
    'libs/sandbox/src/cgroup/',
  ],
  'OpenSSH server': [
    'apps/orchestrator/src/git/private-repositories.spec.ts',
    'apps/orchestrator/src/spawner/denied-push.spec.ts',
  ],
  Docker: [
    'test/mesh/canary-docker.e2e.ts',
    'test/mesh/docker-programs.e2e.ts',
    'test/mesh/docker.e2e.ts',
    'test/mesh/ends-docker.e2e.ts',
    'test/mesh/execution-docker.e2e.ts',
    'test/mesh/kill-docker.e2e.ts',
    'libs/sandbox/src/docker/',
    'apps/orchestrator/src/git/docker/',
    'apps/orchestrator/src/spawner/docker/',
  ],
};

/**
 * Splits what is missing in two.
 * @returns `demanded`: the parts that every test needs; `skipped`: for each other part, the suites that cannot run.
 */
export function suitesWithout(missing) {
  const skipped = missing.flatMap((part) => {
    const suites = NEEDED_BY[part.name];
    return suites === undefined ? [] : [{ ...part, suites }];
  });
  return { demanded: missing.filter(({ name }) => NEEDED_BY[name] === undefined), skipped };
}

/** What a person is told, before the tests and after them. */
export function sentencesOf(skipped) {
  return skipped.flatMap(({ name, command, suites }) => [
    `Skipped, because ${name} is missing: ${suites.join(', ')}`,
    `  to provide it: ${command}`,
  ]);
}

/** Patterns of these suites' paths, for jest.config.mjs: given as an argument they would replace what that leaves out itself. */
export function leaveOut(skipped) {
  const escaped = (path) => path.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
  const suites = [...new Set(skipped.flatMap(({ suites }) => suites))];
  return suites.map((suite) => `^${escaped(join(root, suite))}`);
}
