import { startChild } from '../child.ts';
import { HttpPeer } from '../http.ts';
import { drive } from '../load.ts';
import { cpuMs } from '../processes.ts';

/** As warm as a hub is when it is measured. */
const WARM_UP = 10_000;

/** CPU milliseconds of a bare Nest server per POST of `body`. */
export async function measureNestPost(body: string, count: number, concurrency: number): Promise<number> {
  await using server = await startChild<{ port: number }>('baselines/nest-post.server.ts');
  using peer = new HttpPeer(`http://127.0.0.1:${String(server.ready.port)}`, undefined, concurrency);
  const post = () => peer.call('POST', '/echo', body);
  await drive(WARM_UP, concurrency, post);
  const before = cpuMs(server.pid);
  await drive(count, concurrency, post);
  return (cpuMs(server.pid) - before) / count;
}
