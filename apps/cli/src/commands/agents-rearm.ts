import { join } from 'node:path';
import { KillScope, LocalFault } from '@capstan/protocol';
import { askReaper } from '../ask-reaper.js';
import { ExitCode } from '../exit-codes.js';
import { openContext } from '../open-context.js';
import type { Output } from '../output/output.js';
import { scopeOf, type ScopeOptions } from './scope.js';

/** Lets agents start again in a scope, through the hub; exit code 0 once every reaper has said so. */
export async function rearm(
  output: Output,
  options: { context?: string; tokenFile?: string } & ScopeOptions,
): Promise<void> {
  const body = scopeOf(options);
  const { client } = await openContext(options);
  const { instances } = await client.rearm(body);
  const isDone = instances.every(({ rearmed }) => rearmed);
  if (!isDone) output.exitCode = ExitCode.timeout;
  output.result('rearm', { scope: body.scope, rearmed: isDone, instances }, [
    ...instances.map(({ instance, rearmed, code }) =>
      rearmed
        ? `${instance}: re-armed`
        : `${instance}: not re-armed (${code ?? 'no answer yet; the order waits for it'})`,
    ),
    ...(instances.length === 0 ? ['The scope is re-armed; no instance had to be told.'] : []),
  ]);
}

/** The owner's own order, straight to his reaper: it always holds, with the hub away too. */
export async function rearmLocal(output: Output, directory: string, options: ScopeOptions): Promise<void> {
  const scope = options.mesh === undefined && options.tenant === undefined ? { ...options, instance: 'own' } : options;
  const { scope: name, tenant = '' } = scopeOf(scope);
  const scopes = { mesh: KillScope.MESH, instance: KillScope.INSTANCE, tenant: KillScope.TENANT };
  const value = { scope: scopes[name], scopeId: tenant };
  const answer = await askReaper(join(directory, 'run', 'reaper.sock'), { case: 'rearm', value });
  if (answer.case !== 'rearmed')
    throw new LocalFault('reaper-malformed', 'The reaper has refused to re-arm.', answer.case);
  const { epoch } = answer.value;
  output.result('rearm', { scope: name, rearmed: true, epoch: epoch.toString() }, [
    `Re-armed: agents of the scope ${name} may start here again.`,
  ]);
}
