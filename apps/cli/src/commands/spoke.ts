import { basename, resolve } from 'node:path';
import { isId, LocalFault } from '@capstan/protocol';
import { openContext } from '../open-context.js';
import type { Output } from '../output/output.js';
import { spokeLines } from '../output/spoke-lines.js';
import { runSpokeProgram } from '../spoke-program.js';

export async function listSpokes(output: Output, options: { context?: string }): Promise<void> {
  const { client } = await openContext(options);
  const connections = await client.connections();
  output.result('spokes', { connections }, spokeLines(connections));
}

export async function invite(
  output: Output,
  options: { context?: string; autoApprove?: true; ttl?: number; name?: string },
): Promise<void> {
  const { client } = await openContext(options);
  const invitation = await client.invite({
    autoApprove: options.autoApprove ?? false,
    ...(options.ttl === undefined ? {} : { ttlSeconds: options.ttl }),
    ...(options.name === undefined ? {} : { displayName: options.name }),
  });
  output.result('invitation', { ...invitation }, [
    invitation.invite,
    `Good once, until ${invitation.expiresAt}. The instance's owner types: npx capstan spoke join INVITATION --dir DIRECTORY`,
  ]);
}

/** Runs the spoke's own enrolment in the instance's directory. @throws LocalFault `usage`, the spoke's own, `join-failed` */
export async function join(
  output: Output,
  invitation: string,
  options: { dir: string; name?: string; again?: true; rootKey?: string },
): Promise<void> {
  const directory = resolve(options.dir);
  const name = options.name ?? basename(directory);
  if (!isId(name))
    throw new LocalFault(
      'usage',
      `"${name}" is no name of an instance: a to z, 0 to 9 and "-", at most 63. See --name.`,
    );
  const again = options.again === true ? ['--again'] : [];
  const rootKey = options.rootKey === undefined ? [] : ['--root-key', resolve(options.rootKey)];
  const failed = { code: 'join-failed', sentence: 'The instance could not enrol.' };
  const said = await runSpokeProgram('join', [directory, invitation, name, ...again, ...rootKey], failed);
  const { connectionId, state } = said as { connectionId: string; state: string };
  output.result('joined', { instance: name, directory, connectionId, state }, [
    `${name} has made its keys in ${directory} and is known to the hub: ${state}.`,
    ...(state === 'PENDING' ? [`To admit it: npx capstan spoke approve ${connectionId}`] : []),
    `What others may start on it, its owner decides in ${resolve(directory, 'policy.yaml')}.`,
    'Its processes are not started by this; on one machine "npx capstan up --instances NAMES" starts, and enrols, several.',
  ]);
}
