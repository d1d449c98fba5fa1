import { readFile } from 'node:fs/promises';
import { LocalFault } from '@capstan/protocol';
import { defaultContextFile, HubClient, loadContext, type MeshContext } from '@capstan/localmesh';

export interface OpenContext {
  context: MeshContext;
  client: HubClient;
}

/**
 * The mesh that a command talks to: `--context FILE`, CAPSTAN_CONTEXT, or the one of this checkout; with the token of
 * `tokenFile` where that is given.
 */
export async function openContext(options: { context?: string; tokenFile?: string }): Promise<OpenContext> {
  const context = await loadContext(options.context ?? defaultContextFile());
  const tokenFile = options.tokenFile ?? context.tokenFile;
  let token: string;
  try {
    token = (await readFile(tokenFile, 'utf8')).trim();
  } catch (error) {
    throw new LocalFault('unauthorized', `The token file ${tokenFile} cannot be read by this user.`, undefined, {
      cause: error,
    });
  }
  return { context, client: new HubClient(context.hubUrl, token, context.tlsPin) };
}
