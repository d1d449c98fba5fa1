/**
 * A mesh whose processes follow the sources: what is saved below apps/ and libs/ is built, and who runs it starts anew.
 *
 *   --app APP       only this one is built and started anew: hub, spoke, orchestrator
 *   --state DIR     where the mesh's state is kept; default that of the checkout
 *   --repo PATH     repository that its agents may work on; default the checkout
 *   --port PORT     of the hub; 0 for any
 *   --instances A,B
 */
import { once } from 'node:events';
import { inspect, parseArgs } from 'node:util';
import { checkoutRoot, defaultStateDir, Mesh } from '@capstan/localmesh';
import { LocalFault } from '@capstan/protocol';
import { build } from './build.ts';
import { APPS, builtBy, inTurn, projectOf } from './changes.ts';
import { startAnew } from './start-anew.ts';
import { watchSources } from './watch.ts';

const say = (text: string): void => void process.stderr.write(`${text}\n`);
const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => interrupted.abort());

async function dev(): Promise<void> {
  const { values } = parseArgs({
    options: {
      app: { type: 'string' },
      state: { type: 'string', default: defaultStateDir() },
      repo: { type: 'string', default: checkoutRoot() },
      port: { type: 'string', default: '7400' },
      instances: { type: 'string', default: 'quay' },
    },
  });
  const watched = APPS.filter((app) => values.app === undefined || app === values.app);
  if (watched.length === 0) throw new LocalFault('usage', `--app takes one of ${APPS.join(', ')}.`);
  say('Starting the mesh. Its agents are answered by the scripted provider.');
  await using mesh = await Mesh.start({
    stateDir: values.state,
    instances: values.instances.split(','),
    repository: values.repo,
    hubPort: Number(values.port),
    signal: interrupted.signal,
    onRestart: (name) => say(`${name} has ended and is being started again.`),
  });
  const follow = inTurn(
    async (files) => {
      const startedAt = performance.now();
      const projects = [...new Set([...files].flatMap((file) => projectOf(file) ?? []))];
      if (projects.length === 0) return;
      const isBuilt = await build(projects, interrupted.signal);
      if (interrupted.signal.aborted) return;
      if (!isBuilt) return say('The build has failed; what runs goes on.');
      await mesh.renewRuntime();
      const anew = watched.filter((app) => builtBy(app, projects));
      for (const app of anew) await startAnew(mesh, app, say);
      const what = anew.length === 0 ? 'built for the next spawn' : 'built and running';
      say(`${projects.join(', ')}: ${what} after ${((performance.now() - startedAt) / 1000).toFixed(1)} s`);
    },
    (error) => say(`What was saved could not be taken up: ${inspect(error)}`),
  );
  const sources = [...watched.map((app) => `apps/${app}/src`), 'apps/agent/src', 'libs'];
  {
    await using watching = watchSources(sources, follow);
    await watching.ready;
    say(`Hub ${mesh.hub.url}, logs in ${mesh.stateDir}/logs. Watching ${watched.join(', ')}. Ctrl-C ends it.`);
    if (!interrupted.signal.aborted) await once(interrupted.signal, 'abort');
  }
  // Nothing new comes in: what is under way ends before the mesh does.
  await follow.settled();
  say('Taking the mesh down.');
}

try {
  await dev();
} catch (error) {
  if (!(error instanceof LocalFault)) throw error;
  const isInterrupted = interrupted.signal.aborted;
  say(isInterrupted ? 'Interrupted; nothing was left running.' : error.sentence);
  process.exitCode = isInterrupted ? 130 : 1;
}
