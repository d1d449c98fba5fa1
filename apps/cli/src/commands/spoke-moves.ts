import { resolve } from 'node:path';
import { type ConnectionVerb, type ConnectionView, type HubClient, OwnerClient } from '@capstan/localmesh';
import { faultSentence, LocalFault } from '@capstan/protocol';
import { openContext } from '../open-context.js';
import type { Output } from '../output/output.js';

export interface MoveOptions {
  context?: string;
  reason?: string;
}

/** Moves a connection, named by its id or by its instance. @throws HubProblem; LocalFault `not-found` */
export async function moveSpoke(
  output: Output,
  verb: ConnectionVerb,
  name: string,
  { reason, ...options }: MoveOptions,
): Promise<void> {
  const { client } = await openContext(options);
  const { id } = await connectionOf(client, name);
  const connection = await client.moveConnection(id, verb, reason === undefined ? {} : { reason });
  output.result('connection', { connection }, [lineOf(connection)]);
}

/** The same by the owner, at the spoke in `dir`: it holds there at once, and the hub is told. */
export async function moveOwnSpoke(
  output: Output,
  verb: 'suspend' | 'resume' | 'disconnect',
  dir: string,
  { reason }: MoveOptions,
): Promise<void> {
  const connection = await new OwnerClient(resolve(dir)).moveConnection(verb, reason === undefined ? {} : { reason });
  const { instanceId, wish, answer, hubId } = connection;
  const said = {
    taken: `The hub ${hubId} has taken it.`,
    waiting: `The hub ${hubId} is told as soon as it is there.`,
    refused: `The hub ${hubId} refuses: ${'code' in answer ? faultSentence(answer.code) : ''}`,
  }[answer.is];
  output.result('own-connection', { connection }, [`${instanceId} is ${wish} here. ${said}`]);
}

/** The connection of this id; else the instance's newest, which is the live one where it has one. */
async function connectionOf(client: HubClient, name: string): Promise<ConnectionView> {
  const connections = await client.connections();
  const found = connections.find(({ id }) => id === name) ?? connections.findLast((each) => each.instanceId === name);
  if (found === undefined) throw new LocalFault('not-found', `The hub knows no connection and no instance "${name}".`);
  return found;
}

function lineOf({ instanceId, state, suspendedBy }: ConnectionView): string {
  const by =
    suspendedBy.length === 0
      ? ''
      : `, until ${suspendedBy.join(' and ')} resume${suspendedBy.length > 1 ? '' : 's'} it`;
  return `${instanceId} is ${state}${by}.`;
}
