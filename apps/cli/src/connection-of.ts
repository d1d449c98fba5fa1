import { type HubClient, HubProblem } from '@capstan/localmesh';

const OVER = ['DISCONNECTED', 'REVOKED'];

/** Id of the connection of an instance; where it had several, that of the one which holds. @throws HubProblem `instance-unknown` */
export async function connectionOf(client: HubClient, instance: string): Promise<string> {
  const all = (await client.connections()).filter(({ instanceId }) => instanceId === instance);
  const found = all.find(({ state }) => !OVER.includes(state)) ?? all[0];
  if (found === undefined) throw new HubProblem(404, 'instance-unknown', 'There is no such instance.');
  return found.id;
}
