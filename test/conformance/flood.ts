import type { Wire } from './wire/link.ts';
import { encode } from './wire/protobuf.ts';

const FRAMES = 1_000_000;
const IN_FLIGHT = 4 * 1024 * 1024;
const LONGEST_MS = 120_000;
const LOOK_EVERY = 200_000;

/**
 * A million frames of a few bytes. The link may end or live, as the implementation likes; what is beside it must go on.
 * @param beside asked now and then whether it does; undefined if so
 */
export async function flood(
  link: Wire,
  beside: () => Promise<string | undefined>,
  revocation_epoch = 0n,
): Promise<string> {
  const until = performance.now() + LONGEST_MS;
  const raw = encode('Frame', { heartbeat: { sent_at_ms: 1, revocation_epoch } });
  let sent = 0;
  while (sent < FRAMES && link.end === undefined && performance.now() < until) {
    for (let at = 0; at < 10_000; at += 1) link.sendRaw(raw);
    sent += 10_000;
    const fault = sent % LOOK_EVERY === 0 ? await beside() : undefined;
    if (fault !== undefined) return `after ${String(sent)} frames: ${fault}`;
    await drained(link, until);
  }
  return performance.now() < until ? 'served' : `${String(sent)} frames in ${String(LONGEST_MS / 1000)} s`;
}

async function drained(link: Wire, until: number): Promise<void> {
  while (link.ws.bufferedAmount > IN_FLIGHT && link.end === undefined && performance.now() < until)
    await new Promise((resolve) => setTimeout(resolve, 5));
}
