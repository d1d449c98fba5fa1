import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { bundleLines, headLine, parseHeads } from '@capstan/evidence';
import { decodeEnvelope, fromBase64, LocalFault } from '@capstan/protocol';
import { readIdentity } from '../audit/instance-identity.js';
import { hubSource, localSource } from '../audit/sources.js';
import { writeLines } from '../audit/write-lines.js';
import { openContext } from '../open-context.js';
import type { Output } from '../output/output.js';
import { table } from '../output/table.js';

interface AuditRecord {
  at?: string;
  kind?: string;
  subject?: string;
  detail?: Record<string, unknown>;
}

/** A page of the hub's own record, as the hub tells it; `export` and `verify` are for who does not believe it. */
export async function listAudit(
  output: Output,
  options: { context?: string; after?: number; limit: number },
): Promise<void> {
  const { client } = await openContext(options);
  const page = await client.audit({ limit: options.limit, after: options.after ?? 0 });
  const entries = page.entries.map(({ sequence, hash, record }) => ({
    ...(JSON.parse(record) as AuditRecord),
    sequence,
    hash,
  }));
  const rows = entries.map(({ sequence, at, kind, subject, detail }) => [
    String(sequence),
    at ?? '',
    kind ?? '',
    subject ?? '',
    Object.entries(detail ?? {})
      .map(([name, value]) => `${name}=${String(value).slice(0, 80)}`)
      .join(' '),
  ]);
  output.result('audit', { entries, next: page.next }, table([['ENTRY', 'AT', 'KIND', 'SUBJECT', 'DETAIL'], ...rows]));
}

/**
 * Writes a run of entries with what proves them: of the hub's log, or of an instance's own.
 *
 * @throws LocalFault `audit-range`, `audit-damaged`, `file-exists`
 */
export async function exportAudit(
  output: Output,
  options: { context?: string; local?: string; from?: number; to?: number; out: string },
): Promise<void> {
  const source =
    options.local === undefined
      ? await hubSource((await openContext(options)).client)
      : await localSource(options.local);
  const { logId, size } = source;
  const { from = 1, to = size } = options;
  if (from < 1 || to < from || to > size) {
    throw new LocalFault(
      'audit-range',
      `The log of ${logId} has ${String(size)} entries; --from and --to name some of them.`,
    );
  }
  await writeLines(options.out, bundleLines(source, from, to));
  output.result('audit-export', { file: options.out, logId, from, to, size }, [
    `${options.out}: entries ${String(from)} to ${String(to)} of the log of ${logId}, with the signed head of ${String(size)}.`,
    `To check them anywhere: npx capstan verify ${options.out}`,
  ]);
}

/**
 * Writes the heads that one side keeps of the other's log: a witness for `capstan verify --witness`. Those of an
 * instance's log are kept by the hub, those of the hub's log in each instance's directory.
 */
export async function exportHeads(
  output: Output,
  instance: string | undefined,
  options: { context?: string; local?: string; out: string },
): Promise<void> {
  if ((instance === undefined) === (options.local === undefined)) {
    throw new LocalFault(
      'usage',
      'Name an instance, whose heads the hub keeps, or --local DIR, which keeps those of its hub.',
    );
  }
  const { logId, lines } =
    options.local === undefined ? await keptByHub(instance ?? '', options) : await keptByInstance(options.local);
  await writeLines(options.out, lines);
  output.result('audit-heads', { file: options.out, logId, heads: lines.length }, [
    `${options.out}: ${String(lines.length)} heads of the log of ${logId}, as its owner signed them.`,
  ]);
}

/** The hub takes an instance's log as it is now, whatever it contradicts. */
export async function acceptLog(output: Output, instance: string, options: { context?: string }): Promise<void> {
  const { client } = await openContext(options);
  await client.acceptLog(instance);
  output.result('audit-accepted', { instance }, [
    `The log of ${instance} is taken as it is now; this is in the record.`,
  ]);
}

async function keptByHub(instance: string, options: { context?: string }): Promise<{ logId: string; lines: string[] }> {
  const { heads } = await (await openContext(options)).client.auditHeads(instance);
  const lines = heads.map(({ head, receivedAt }) => headLine(decodeEnvelope(fromBase64(head)), Date.parse(receivedAt)));
  return { logId: instance, lines };
}

async function keptByInstance(directory: string): Promise<{ logId: string; lines: string[] }> {
  const { hubId } = await readIdentity(directory);
  const files = ['hub-heads.jsonl', 'hub-head.jsonl'].map((name) => join(directory, 'audit', name));
  const texts = await Promise.all(files.map((file) => readFile(file, 'utf8').catch(() => '')));
  const lines = texts.flatMap(parseHeads).map(({ envelope, receivedAtMs }) => headLine(envelope, receivedAtMs));
  return { logId: hubId, lines: [...new Set(lines)] };
}
