import { WireFault } from '@capstan/protocol';

/** Where a repository is cloned from and pushed to. */
export interface RepositorySource {
  /** What git is given. */
  url: string;
  /** Directory of a repository on this machine; undefined for a remote one. */
  path?: string;
}

const SCP_LIKE = /^(?:(?<user>[A-Za-z0-9_][\w.-]*)@)?(?<host>[A-Za-z0-9][\w.-]*):(?!\/\/)(?<path>[^\s]+)$/;

/**
 * Reads what a spawn names: an absolute path, `file://`, `https://`, `ssh://`, or `user@host:path`. Everything else
 * (`ext::`, `http://`, options, relative paths) is refused, and so is a URL with a password: it would be stored.
 *
 * @throws {WireFault} `repository-missing`
 */
export function repositorySource(text: string): RepositorySource {
  if (text === '' || text.length > 2000 || /[\u0000-\u001f\u007f]/.test(text)) throw refused(text);
  if (text.startsWith('/')) return local(text);
  const scp = SCP_LIKE.exec(text);
  if (scp !== null) return scpLike(scp, text);
  let url: URL;
  try {
    url = new URL(text);
  } catch (error) {
    throw new WireFault('repository-missing', JSON.stringify(text.slice(0, 200)), { cause: error });
  }
  switch (url.protocol) {
    case 'file:':
      if (url.hostname !== '' && url.hostname !== 'localhost') throw refused(text);
      return local(decodeURIComponent(url.pathname));
    case 'https:':
      if (url.username !== '' || url.password !== '') throw refused(text);
      return { url: url.href };
    case 'ssh:':
      // A host or user that starts with a dash would be an option to ssh (CVE-2017-1000117).
      if (url.password !== '' || url.hostname.startsWith('-') || url.username.startsWith('-')) throw refused(text);
      return { url: url.href };
    default:
      throw refused(text);
  }
}

function scpLike(match: RegExpExecArray, text: string): RepositorySource {
  const path = match.groups?.['path'] ?? '';
  // `ext::sh -c …` and `fd::7` look like host:path too.
  if (path.startsWith(':') || path.startsWith('-')) throw refused(text);
  return { url: text };
}

/** By URL, so that git copies through its own protocol: a local clone would copy files and follow links. */
function local(path: string): RepositorySource {
  if (path.split('/').includes('..')) throw refused(path);
  return { url: `file://${path.split('/').map(encodeURIComponent).join('/')}`, path };
}

function refused(text: string): WireFault {
  return new WireFault(
    'repository-missing',
    `not a repository that can be named: ${JSON.stringify(text.slice(0, 200))}`,
  );
}
