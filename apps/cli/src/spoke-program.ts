import { spawn } from 'node:child_process';
import { resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { checkoutRoot } from '@capstan/localmesh';
import { LocalFault } from '@capstan/protocol';

/** Its last words where it fails: a sentence, and the code in brackets. */
const WORDS = /^(?<sentence>.+) \((?<code>[a-z0-9-]+)\)$/;

/**
 * Runs one of the spoke's own programs (`join`, `recover`) and returns the JSON that it prints.
 *
 * @throws LocalFault with the code and the sentence that the program ends with, else `otherwise`
 */
export async function runSpokeProgram(
  program: 'join' | 'recover',
  args: readonly string[],
  otherwise: { code: string; sentence: string },
): Promise<unknown> {
  const file = resolve(checkoutRoot(), `dist/apps/spoke/src/${program}.js`);
  const child = spawn(process.execPath, [file, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = new Promise<number | null>((done, fail) => {
    child.once('error', fail);
    child.once('close', done);
  });
  const [code, said, complained] = await Promise.all([ended, text(child.stdout), text(child.stderr)]);
  if (code !== 0) throw faultIn(complained, otherwise);
  return JSON.parse(said) as unknown;
}

/** The fault that a program's last line tells. */
export function faultIn(complained: string, otherwise: { code: string; sentence: string }): LocalFault {
  const lines = complained.trimEnd().split('\n');
  const { sentence, code } = WORDS.exec(lines.at(-1) ?? '')?.groups ?? {};
  if (sentence === undefined || code === undefined)
    return new LocalFault(otherwise.code, otherwise.sentence, complained.trimEnd());
  return new LocalFault(code, sentence, lines.slice(0, -1).join('\n'));
}
