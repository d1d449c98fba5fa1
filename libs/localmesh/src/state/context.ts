import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parsePin } from '@capstan/identity';
import { LocalFault } from '@capstan/protocol';
import { defaultStateDir } from './state-dir.js';
import { writePrivate } from './write-file.js';

/** What a client needs to know of a mesh; context.json in its state directory. */
export interface MeshContext {
  version: 1;
  hubId: string;
  hubUrl: string;
  /** Of the hub's TLS key, where it is not a public CA that vouches for `hubUrl`. */
  tlsPin?: string;
  /** File with the admin token. */
  tokenFile: string;
  /** File with the pinned keys; `capstan verify` trusts these and nothing else. */
  trustFile: string;
  /** Directories of the instances on this machine, by id. */
  instances: Readonly<Record<string, string>>;
  /** The key with which this user signs commands, where he does. */
  operator?: { keyFile: string };
}

/** CAPSTAN_CONTEXT, else the context of this checkout's mesh. */
export function defaultContextFile(env: NodeJS.ProcessEnv = process.env): string {
  const named = env['CAPSTAN_CONTEXT'];
  return named !== undefined && named !== '' ? resolve(named) : join(defaultStateDir(), 'context.json');
}

export async function saveContext(file: string, context: MeshContext): Promise<void> {
  await writePrivate(file, `${JSON.stringify(context, null, 2)}\n`);
}

/** @throws LocalFault `context-missing`, `context-malformed` */
export async function loadContext(file: string): Promise<MeshContext> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    throw new LocalFault(
      'context-missing',
      'No mesh was started here yet; run "npm start", or name a context with --context FILE.',
      file,
      { cause: error },
    );
  }
  try {
    const { version, hubId, hubUrl, tlsPin, tokenFile, trustFile, instances, operator } = JSON.parse(text) as Record<
      string,
      unknown
    >;
    const isText = (value: unknown): value is string => typeof value === 'string' && value !== '';
    if (version === 1 && isText(hubId) && isText(hubUrl) && isText(tokenFile) && isText(trustFile)) {
      const pinned = isText(tlsPin) ? { tlsPin: parsePin(tlsPin) } : {};
      return {
        version,
        hubId,
        hubUrl,
        ...pinned,
        tokenFile,
        trustFile,
        instances: isPlaces(instances) ? instances : {},
        ...operatorOf(operator),
      };
    }
  } catch (error) {
    throw malformed(file, error);
  }
  throw malformed(file);
}

function operatorOf(value: unknown): Pick<MeshContext, 'operator'> {
  const { keyFile } = (value ?? {}) as { keyFile?: unknown };
  return typeof keyFile === 'string' && keyFile !== '' ? { operator: { keyFile } } : {};
}

function isPlaces(value: unknown): value is Record<string, string> {
  return (
    typeof value === 'object' && value !== null && Object.values(value).every((place) => typeof place === 'string')
  );
}

function malformed(file: string, cause?: unknown): LocalFault {
  return new LocalFault('context-malformed', `${file} is no context of this version of Capstan.`, undefined, { cause });
}
