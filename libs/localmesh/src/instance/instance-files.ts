import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LocalFault } from '@capstan/protocol';
import type { InstancePolicy } from '../mesh-options.js';
import type { HubPorts } from './hub-ports.js';
import { makePrivate, makeTraversable } from '../state/state-dir.js';
import { writePrivate } from '../state/write-file.js';

const DEFAULT_POLICY: InstancePolicy = {
  runtimes: ['claude'],
  repositories: [],
  tenants: ['default'],
  concurrency: 8,
  budgetMicroUsd: 1_000_000,
  timeoutMs: 3_600_000 * 2,
  sandboxes: ['bubblewrap'],
};

/** Makes the directories, the tokens and the owner's policy of an instance; what exists already stays as it is. */
export async function prepareInstanceDir(dir: string, policy: Partial<InstancePolicy>): Promise<void> {
  makeTraversable(dir);
  makeTraversable(join(dir, 'run'));
  makePrivate(join(dir, 'tokens'));
  makePrivate(join(dir, 'audit'));
  for (const part of ['orchestrator', 'spoke']) {
    const token = join(dir, 'tokens', `${part}.token`);
    if (!existsSync(token)) await writePrivate(token, `${randomBytes(32).toString('hex')}\n`);
  }
  const file = join(dir, 'policy.yaml');
  if (!existsSync(file)) await writeFile(file, policyText({ ...DEFAULT_POLICY, ...policy }), { mode: 0o600 });
}

/** True once the instance has joined a hub. */
export function isJoined(dir: string): boolean {
  return existsSync(join(dir, 'instance.json'));
}

/**
 * Notes the hub's addresses, which follow the ports of this start: the first one's, and those of its replicas. The
 * identity that was pinned stays.
 * @throws LocalFault `instance-malformed`
 */
export async function noteHubPorts(dir: string, [port, ...more]: HubPorts): Promise<void> {
  const file = join(dir, 'instance.json');
  try {
    const text = await readFile(file, 'utf8');
    const instance = JSON.parse(text) as { hub: { url: string; urls?: string[] } };
    const { hub } = instance;
    const before = hub.url;
    hub.url = withPort(before, port);
    if (more.length > 0) hub.urls = more.map((each) => withPort(before, each));
    else delete hub.urls;
    const noted = `${JSON.stringify(instance, null, 2)}\n`;
    if (noted !== text) await writePrivate(file, noted);
  } catch (error) {
    throw new LocalFault(
      'instance-malformed',
      `${file} cannot be read; remove the instance's directory to enrol it anew.`,
      undefined,
      { cause: error },
    );
  }
}

function withPort(address: string, port: number): string {
  const url = new URL(address);
  url.port = String(port);
  return address.endsWith('/') ? url.href : url.href.replace(/\/$/, '');
}

/** JSON is YAML, and needs no library. */
function policyText(policy: InstancePolicy): string {
  const lines = Object.entries(policy).map(([name, value]) => `  ${name}: ${JSON.stringify(value)}`);
  return [
    '# The owner of this instance decides here what others may start on it.',
    'version: 1',
    'spawn:',
    ...lines,
    '',
  ].join('\n');
}
