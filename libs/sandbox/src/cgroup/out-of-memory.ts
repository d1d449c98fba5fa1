import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Whether the kernel has ended anything in one of these groups because its memory was used up. */
export function hasRunOutOfMemory(groups: readonly string[]): boolean {
  return groups.some((group) => killsIn(join(group, 'memory.events')) + killsIn(join(group, 'memory.oom_control')) > 0);
}

/** The line `oom_kill N` is the same in v2 (memory.events) and v1 (memory.oom_control, Linux 4.13). */
function killsIn(file: string): number {
  try {
    return Number(/^oom_kill (\d+)$/m.exec(readFileSync(file, 'utf8'))?.[1] ?? 0);
  } catch {
    return 0;
  }
}
