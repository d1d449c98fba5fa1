import { readFile } from 'node:fs/promises';
import { replaceFile } from '@capstan/identity';
import { hubId, instanceId, LocalFault } from '@capstan/protocol';
import { type HubTls, readHubTls } from '../enrollment/invite.js';

/** `instance.json`: written when the instance joins a hub. */
export interface InstanceFile {
  version: 1;
  instanceId: string;
  displayName: string;
  /** `url` is the hub's HTTP address, without a path; `urls` those of further replicas; `tls` what its TLS must be. */
  hub: { id: string; url: string; urls?: readonly string[]; tls?: HubTls };
  connectionId: string;
}

/** @throws LocalFault `instance-missing` (not joined yet), `instance-malformed` */
export async function readInstanceFile(file: string): Promise<InstanceFile> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    throw new LocalFault('instance-missing', 'This instance has not joined a hub yet: capstan spoke join.', file, {
      cause,
    });
  }
  try {
    return parseInstance(JSON.parse(text) as unknown);
  } catch (cause) {
    throw new LocalFault('instance-malformed', 'instance.json cannot be read.', file, { cause });
  }
}

export async function writeInstanceFile(file: string, instance: InstanceFile): Promise<void> {
  await replaceFile(file, `${JSON.stringify(instance, null, 2)}\n`, 0o600);
}

/** The address that the spoke dials. */
export function linkUrl({ hub }: InstanceFile): string {
  return linkAt(hub.url);
}

/** The addresses of the hub's other replicas, which the spoke dials in turn. */
export function moreLinkUrls({ hub }: InstanceFile): string[] {
  return (hub.urls ?? []).map((url) => linkAt(url)).filter((url) => url !== linkAt(hub.url));
}

function linkAt(address: string): string {
  const url = new URL('/federation/link', address);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  return url.href;
}

function parseInstance(json: unknown): InstanceFile {
  const { version, instanceId: id, displayName, hub, connectionId } = record(json);
  const { id: hubName, url, urls, tls } = record(hub);
  if (version !== 1) throw new TypeError('version is not 1');
  if (!isHttp(text(url))) throw new TypeError('hub.url is not http(s)');
  const more = urls === undefined ? {} : { urls: parseUrls(urls) };
  return {
    version,
    instanceId: instanceId(text(id)),
    displayName: text(displayName),
    hub: {
      id: hubId(text(hubName)),
      url: text(url),
      ...more,
      ...(tls === undefined ? {} : { tls: parseTls(record(tls)) }),
    },
    connectionId: text(connectionId),
  };
}

function parseTls({ pin, ends }: Record<string, unknown>): HubTls {
  return readHubTls({ tlsPin: pin, tlsEnds: ends });
}

function parseUrls(urls: unknown): string[] {
  if (!Array.isArray(urls)) throw new TypeError('hub.urls is no list');
  return urls.map((url: unknown) => {
    if (!isHttp(text(url))) throw new TypeError('hub.urls holds what is not http(s)');
    return text(url);
  });
}

function isHttp(url: string): boolean {
  return ['http:', 'https:'].includes(URL.parse(url)?.protocol ?? '');
}

function record(value: unknown): Record<string, unknown> {
  if (typeof value !== 'object' || value === null) throw new TypeError('not an object');
  return value as Record<string, unknown>;
}

function text(value: unknown): string {
  if (typeof value !== 'string') throw new TypeError('not a text');
  return value;
}
