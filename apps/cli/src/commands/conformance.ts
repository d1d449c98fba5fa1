import { spawn } from 'node:child_process';
import { resolve } from 'node:path';
import { checkoutRoot } from '@capstan/localmesh';
import type { Output } from '../output/output.js';

/**
 * Lets the hostile peer loose on an implementation. The peer is no part of the product: it runs as a process from the
 * checkout, as node reads it, so that it can import nothing of what it judges.
 *
 * @param args those of test/conformance/main.ts
 */
export async function conformance(output: Output, args: readonly string[]): Promise<void> {
  const program = resolve(checkoutRoot(), 'test/conformance/main.ts');
  const child = spawn(process.execPath, [program, ...args, ...(output.isJson ? ['--json'] : [])], { stdio: 'inherit' });
  const end = (): void => {
    child.kill();
  };
  process.once('SIGTERM', end);
  output.exitCode = await new Promise<number>((done, fail) => {
    child.once('error', fail);
    child.once('close', (code) => {
      done(code ?? 1);
    });
  });
  process.off('SIGTERM', end);
}
