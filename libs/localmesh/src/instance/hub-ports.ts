import { LocalFault } from '@capstan/protocol';

/** Ports of the hub and its replicas, in the order in which they are dialled. */
export type HubPorts = readonly [number, ...number[]];

/**
 * The ports that an instance dials: those of `wanted`, indexes in `ports`, else all of them, each instance beginning with
 * another one.
 * @throws LocalFault `hub-unknown`
 */
export function dialled(ports: HubPorts, instance: number, wanted?: readonly number[]): HubPorts {
  const order = wanted ?? ports.map((_, at) => (instance + at) % ports.length);
  const [first, ...more] = order.flatMap((at) => ports[at] ?? []);
  if (first === undefined) throw new LocalFault('hub-unknown', 'An instance must dial a hub of this mesh.');
  return [first, ...more];
}
