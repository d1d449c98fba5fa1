import { open, utimes } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';

/** How often a process touches what it has in hand. */
const BEAT_MS = 1_000;
const LOOK_MS = 250;
/** Looks, not time: who was stopped meanwhile has missed no beat. Five seconds in all. */
const LOOKS = 20;

/** Touches files again and again, so that hubs that cannot see this process see that it lives. */
export class Pulse {
  private readonly files = new Map<string, () => void>();
  private timer: NodeJS.Timeout | undefined;

  /** @param onGone is called once where somebody has taken the file away. */
  add(path: string, onGone: () => void): void {
    this.files.set(path, onGone);
    this.timer ??= setInterval(() => {
      for (const each of this.files.keys()) void this.beat(each);
    }, BEAT_MS).unref();
  }

  remove(path: string): void {
    this.files.delete(path);
    if (this.files.size > 0) return;
    clearInterval(this.timer);
    this.timer = undefined;
  }

  private async beat(path: string): Promise<void> {
    try {
      const now = new Date();
      await utimes(path, now, now);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') return;
      const onGone = this.files.get(path);
      this.remove(path);
      onGone?.();
    }
  }
}

/** Of these files, those that hold something and that nobody has touched for five seconds; by no clock but one's own. */
export async function silent(paths: readonly string[]): Promise<string[]> {
  const first = new Map<string, number>();
  for (const path of paths) {
    const found = await touchedAt(path);
    if (found !== undefined && found.size > 0) first.set(path, found.atMs);
  }
  for (let look = 0; look < LOOKS && first.size > 0; look += 1) {
    await pause(LOOK_MS);
    for (const [path, atMs] of first) if ((await touchedAt(path))?.atMs !== atMs) first.delete(path);
  }
  return [...first.keys()];
}

/** Opened each time: a network file system answers a mere look from its memory. */
async function touchedAt(path: string): Promise<{ atMs: number; size: number } | undefined> {
  try {
    await using handle = await open(path, 'r');
    const { mtimeMs, size } = await handle.stat();
    return { atMs: mtimeMs, size };
  } catch {
    return undefined;
  }
}
