import { ALL, checkNarrower, checkScope, loadTrust, makeGrant, readGrant } from '@capstan/identity';
import { type Envelope, fromHex, type Grant, LocalFault, operatorId, WireFault } from '@capstan/protocol';
import { readGrantFile, writeGrantFile } from '../grants/grant-file.js';
import { ownOperator } from '../operators/own-operator.js';
import type { Output } from '../output/output.js';

const DAY_S = 86_400;

export interface GrantOptions {
  context?: string;
  /** Default: the context's operator. */
  key?: string;
  as?: string;
  to: string;
  /** Hex, or the file of a public key. */
  toKey: string;
  verb: string[];
  on?: string[];
  tenant?: string[];
  repo?: string[];
  /** US dollars. */
  budget: number;
  /** Seconds. */
  expires?: number;
  depth: number;
  parent?: string;
  out: string;
}

/**
 * Signs a grant and writes the chain that ends with it.
 *
 * @throws LocalFault `key-file-…`, `file-missing`, `grant-file-malformed`; WireFault `grant-invalid`, `grant-widened`
 */
export async function createGrant(output: Output, options: GrantOptions): Promise<void> {
  const { id, key } = await ownOperator(options);
  const chain = options.parent === undefined ? [] : await readGrantFile(options.parent);
  const parent = chain.at(-1);
  const above = parent === undefined ? undefined : readGrant(parent);
  // Where a grant stands on another, what is not named stays as it is there.
  const unnamed = above === undefined ? [] : [ALL];
  const nowMs = Date.now();
  const envelope = makeGrant({
    issuer: id,
    key,
    subject: operatorId(options.to),
    subjectKey: await publicKeyOf(options),
    verbs: options.verb,
    instances: options.on ?? unnamed,
    tenants: options.tenant ?? (above === undefined ? ['default'] : unnamed),
    repositories: options.repo ?? unnamed,
    budgetMicroUsd: BigInt(Math.round(options.budget * 1_000_000)),
    depth: options.depth,
    nowMs,
    lifetimeMs: lifetimeMs(options.expires, above, nowMs),
    ...(parent === undefined ? {} : { parent }),
  });
  const grant = readGrant(envelope);
  checkScope(grant);
  if (above !== undefined) checkNarrower(above, grant);
  await writeGrantFile(options.out, [...chain, envelope]);
  output.result('grant', { file: options.out, grant: grantView(grant) }, [
    ...describe(grant),
    `written to ${options.out}; whoever uses it passes it with --grant ${options.out}`,
  ]);
}

/** Shows a chain; nothing of it is verified here, that is for the instance that executes. */
export async function showGrant(output: Output, file: string): Promise<void> {
  const grants = (await readGrantFile(file)).map((envelope: Envelope) => readGrant(envelope));
  output.result('grants', { file, grants: grants.map(grantView) }, grants.flatMap(describe));
}

async function publicKeyOf({ to, toKey }: GrantOptions): Promise<Uint8Array> {
  if (/^[0-9a-f]{64}$/i.test(toKey)) return fromHex(toKey);
  const record = (await loadTrust(toKey)).records().find(({ owner }) => owner === to);
  if (record === undefined) throw new LocalFault('key-missing', `${toKey} holds no key of ${to}.`);
  return record.publicKey;
}

function lifetimeMs(seconds: number | undefined, above: Grant | undefined, nowMs: number): number {
  const left = Number(above?.header?.expiresAtMs ?? 0n) - nowMs;
  if (above !== undefined && left <= 0) throw new WireFault('expired', 'the grant that it would stand on');
  return seconds === undefined ? (above === undefined ? DAY_S * 1000 : left) : Math.round(seconds * 1000);
}

function grantView(grant: Grant): Record<string, unknown> {
  const { header, subject, subjectKey, verbs, instances, tenants, repositories, budgetMicroUsd, depth } = grant;
  const expiresAt = new Date(Number(header?.expiresAtMs ?? 0n)).toISOString();
  const from = header?.issuer ?? '';
  const budget = Number(budgetMicroUsd);
  return {
    ...{ from, to: subject, keyId: subjectKey?.keyId ?? '', verbs, instances, tenants, repositories },
    ...{ budgetMicroUsd: budget, depth, expiresAt },
  };
}

function describe(grant: Grant): string[] {
  const { header, subject, verbs, instances, tenants, repositories, budgetMicroUsd, depth } = grant;
  const list = (items: readonly string[]): string => (items.length === 0 ? 'nothing' : items.join(', '));
  return [
    `${header?.issuer ?? ''} lets ${subject} order ${list(verbs)} on ${list(instances)}`,
    `  for ${list(tenants)}, in ${list(repositories)}, for $${(Number(budgetMicroUsd) / 1_000_000).toFixed(2)} on each`,
    `  until ${new Date(Number(header?.expiresAtMs ?? 0n)).toISOString()}; ${depth === 0 ? 'not to be passed on' : `may be passed on ${String(depth)} times`}`,
  ];
}
