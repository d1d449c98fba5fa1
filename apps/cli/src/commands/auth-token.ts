import { open, rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import { LocalFault } from '@capstan/protocol';
import { openContext } from '../open-context.js';
import type { Output } from '../output/output.js';
import { table } from '../output/table.js';

/**
 * Makes a token for another admin. With `out` it goes into a new file of this user alone, and into no answer.
 *
 * @throws LocalFault `file-exists` before anything is made; HubProblem, e.g. where the name is taken
 */
export async function createToken(
  output: Output,
  name: string,
  options: { context?: string; out?: string },
): Promise<void> {
  const { client } = await openContext(options);
  const file = options.out === undefined ? undefined : resolve(options.out);
  if (file === undefined) {
    const { token, createdAt } = await client.makeToken(name);
    output.result('token', { name, createdAt, token }, [token]);
    output.note(`The token of ${name}; nobody is told it again.`);
    return;
  }
  const { createdAt } = await intoNewFile(file, () => client.makeToken(name));
  output.result('token', { name, createdAt, savedTo: file }, [
    `The token of ${name} is in ${file}; nobody is told it again.`,
  ]);
}

/** Names of the tokens that open the API. */
export async function listTokens(output: Output, options: { context?: string }): Promise<void> {
  const { client } = await openContext(options);
  const tokens = await client.tokens();
  const rows = tokens.map(({ name, createdAt, madeBy: [maker = '-'] }) => [name, createdAt, maker]);
  output.result('tokens', { tokens }, table([['NAME', 'MADE', 'BY'], ...rows]));
}

/** The token opens nothing from now on. @throws HubProblem `not-found`; `forbidden` for the one in the hub's own file */
export async function revokeToken(output: Output, name: string, options: { context?: string }): Promise<void> {
  const { client } = await openContext(options);
  await client.revokeToken(name);
  output.result('token', { name, revoked: true }, [`The token of ${name} opens nothing any longer.`]);
}

/** Makes the token once the file is there: one that could not be kept would be lost. Leaves no file where none is made. */
async function intoNewFile<T extends { token: string }>(file: string, make: () => Promise<T>): Promise<T> {
  await using handle = await open(file, 'wx', 0o600).catch((cause: unknown) => {
    throw (cause as NodeJS.ErrnoException).code === 'EEXIST'
      ? new LocalFault('file-exists', `${file} exists already.`, undefined, { cause })
      : new LocalFault('file-unwritable', `${file} cannot be written.`, undefined, { cause });
  });
  const made = await make().catch(async (error: unknown) => {
    await rm(file);
    throw error;
  });
  await handle.appendFile(`${made.token}\n`);
  return made;
}
