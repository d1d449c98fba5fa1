/** Generates the wire's messages beside the tree and fails where the committed ones differ; the tree stays untouched. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const GENERATED = 'libs/protocol/src/gen';

/** The exit status of a command whose output is this process's; a command that cannot start counts as failed. */
function statusOf(command: string, args: string[]): number {
  return spawnSync(command, args, { stdio: 'inherit' }).status ?? 1;
}

const fresh = mkdtempSync(join(tmpdir(), 'capstan-gen-'));
try {
  // The template's `out` is relative to proto/, so that the output directory must be one level down as well.
  const generate = ['generate', 'proto', '--template', 'proto/buf.gen.yaml', '--output', join(fresh, 'proto')];
  const compare = ['diff', '--no-index', '--exit-code', '--stat', '--patch', GENERATED, join(fresh, GENERATED)];
  process.exitCode = statusOf('buf', generate) || statusOf('git', compare);
  if (process.exitCode !== 0) console.error(`${GENERATED} is not what proto/ generates: npm run gen`);
} finally {
  rmSync(fresh, { recursive: true });
}
