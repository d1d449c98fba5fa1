import { constants } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { allowsRepository, LocalFault } from '@capstan/protocol';
import { parse } from 'yaml';

/** How one or more repositories are reached. */
export type Credential =
  | { kind: 'https'; match: string; username: string; password: string; ca?: string }
  | { kind: 'ssh'; match: string; key: string; knownHosts: string };

const PLAIN_PATH = /^\/[\w./@+-]+$/;
const ONE_LINE = /^[^\u0000-\u001f\u007f]{1,4096}$/;
const SSH = [
  'ssh -F /dev/null -oBatchMode=yes -oStrictHostKeyChecking=yes -oPermitLocalCommand=no -oIdentitiesOnly=yes',
  '-oIdentityAgent=none -oGlobalKnownHostsFile=/dev/null -oUpdateHostKeys=no -oConnectTimeout=20 -oServerAliveInterval=15',
].join(' ');

/**
 * What git on the host is given to reach a source: its environment alone, never an argument, a URL or a file of the
 * repository. Nothing where the owner names no credential for it.
 *
 * @param file the owner's `git-credentials.yaml`; it may be absent. @param askPass program of ours that answers git
 * @throws LocalFault `git-credentials`
 */
export async function credentialEnv(file: string, askPass: string, url: string): Promise<Record<string, string>> {
  const found = (await loadCredentials(file)).find(({ match }) => match === url || allowsRepository(match, url));
  if (found === undefined) return {};
  if (found.kind === 'ssh') {
    await demandPrivate(found.key);
    return { GIT_SSH_COMMAND: `${SSH} -i ${found.key} -oUserKnownHostsFile=${found.knownHosts}` };
  }
  const { username, password, ca } = found;
  return {
    GIT_ASKPASS: askPass,
    CAPSTAN_GIT_HOST: new URL(url).host,
    CAPSTAN_GIT_USERNAME: username,
    CAPSTAN_GIT_PASSWORD: password,
    ...(ca === undefined ? {} : { GIT_SSL_CAINFO: ca }),
  };
}

/** Answers git's questions for one host; a server that sends git on to another gets nothing. */
export const ASK_PASS = `#!/bin/sh
case "$1" in
  "Username for 'https://$CAPSTAN_GIT_HOST': ") printf '%s\\n' "$CAPSTAN_GIT_USERNAME" ;;
  "Password for 'https://"*"@$CAPSTAN_GIT_HOST': ") printf '%s\\n' "$CAPSTAN_GIT_PASSWORD" ;;
  *) exit 1 ;;
esac
`;

async function loadCredentials(file: string): Promise<Credential[]> {
  let text: string;
  try {
    await using handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW);
    checkMode(file, await handle.stat());
    text = await handle.readFile('utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    if (error instanceof LocalFault) throw error;
    throw fault('the file cannot be read', file);
  }
  // Neither the parser's fault nor its cause: they may quote the file.
  try {
    return credentialsOf(parse(text) as unknown);
  } catch (error) {
    throw fault(error instanceof FieldFault ? error.message : 'the file is no YAML', file);
  }
}

async function demandPrivate(file: string): Promise<void> {
  const stats = await stat(file).catch(() => undefined);
  if (stats === undefined) throw fault('a key cannot be read', file);
  checkMode(file, stats);
}

function checkMode(file: string, { mode, uid }: { mode: number; uid: number }): void {
  if ((mode & 0o077) !== 0) throw fault('a file can be read by others; chmod 600 it', file);
  if (uid !== process.getuid?.() && uid !== 0) throw fault('a file belongs to somebody else', file);
}

/** Agents and hubs read the sentence: which file of this machine it is stands in the log alone. */
const fault = (what: string, file: string): LocalFault =>
  new LocalFault('git-credentials', `The instance's git credentials cannot be used: ${what}.`, file);

/** Names a field, and never what stands in it. */
class FieldFault extends Error {}

function credentialsOf(root: unknown): Credential[] {
  const { version, credentials, ...others } = recordOf(root, 'the file');
  if (version !== 1) throw new FieldFault('version must be 1');
  if (Object.keys(others).length > 0) throw new FieldFault('only version and credentials are known');
  if (!Array.isArray(credentials)) throw new FieldFault('credentials must be a list');
  return credentials.map((each: unknown, at) => credentialOf(recordOf(each, `credentials[${String(at)}]`), at));
}

function credentialOf(fields: Record<string, unknown>, at: number): Credential {
  const text = (name: string, pattern: RegExp): string => {
    const value = fields[name];
    if (typeof value === 'string' && pattern.test(value)) return value;
    throw new FieldFault(`credentials[${String(at)}].${name} is missing or malformed`);
  };
  const only = (...names: string[]): void => {
    const stranger = Object.keys(fields).find((name) => !names.includes(name));
    if (stranger !== undefined) throw new FieldFault(`credentials[${String(at)}] has a field that is not known`);
  };
  const match = text('match', /^(?:https:\/\/|ssh:\/\/|[\w.-]+@[\w.-]+:)\S+$/);
  if (match.startsWith('https://')) {
    only('match', 'username', 'password', 'ca');
    const access = { username: text('username', ONE_LINE), password: text('password', ONE_LINE) };
    return { kind: 'https', match, ...access, ...(fields['ca'] === undefined ? {} : { ca: text('ca', PLAIN_PATH) }) };
  }
  only('match', 'key', 'knownHosts');
  return { kind: 'ssh', match, key: text('key', PLAIN_PATH), knownHosts: text('knownHosts', PLAIN_PATH) };
}

function recordOf(value: unknown, name: string): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new FieldFault(`${name} must be a mapping`);
}
