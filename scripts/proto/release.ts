/**
 * `npm run proto:release`: what proto/ says now becomes what no later change may break; run when a version is released.
 * Refuses a change that breaks what was released before: that needs a new protocol version, and a baseline of its own.
 */
import { spawnSync } from 'node:child_process';

const BASELINE = 'proto/baseline/protocol-1.binpb';

/** The exit status of buf, whose output is this process's; one that cannot start counts as failed. */
function buf(...args: string[]): number {
  return spawnSync('buf', args, { stdio: 'inherit' }).status ?? 1;
}

process.exitCode =
  buf('breaking', 'proto', '--against', BASELINE) ||
  buf('build', 'proto', '--exclude-source-info', '--output', BASELINE);
