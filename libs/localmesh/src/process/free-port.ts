import { createServer } from 'node:net';
import { LocalFault } from '@capstan/protocol';
import type { HubPorts } from '../instance/hub-ports.js';

const HOST = '127.0.0.1';

/**
 * The port to listen on: `wanted`, once it is known to be free, or any free one for 0.
 * @throws LocalFault `port-in-use`
 */
export async function freePort(wanted: number): Promise<number> {
  const server = createServer();
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(wanted, HOST, resolve);
    });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why = code === 'EACCES' ? 'may not be used by this user' : 'is in use by another program';
    throw new LocalFault(
      'port-in-use',
      `Port ${String(wanted)} of ${HOST} ${why}; choose another one with --port PORT.`,
      undefined,
      { cause: error },
    );
  }
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string')
    throw new LocalFault('port-in-use', 'No free port could be found.');
  return address.port;
}

/** `count` ports, the first as `freePort` has it, the others any. @throws LocalFault `port-in-use` */
export async function freePorts(wanted: number, count: number): Promise<HubPorts> {
  const first = await freePort(wanted);
  const more = new Set<number>();
  while (more.size < count - 1) {
    const port = await freePort(0);
    if (port !== first) more.add(port);
  }
  return [first, ...more];
}
