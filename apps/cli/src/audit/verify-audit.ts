import { createReadStream } from 'node:fs';
import { readFile, open } from 'node:fs/promises';
import { type AuditFlaw, type AuditVerdict, isBundleHeader, parseHeads, verifyAuditBundle } from '@capstan/evidence';
import { loadTrust } from '@capstan/identity';
import { LocalFault } from '@capstan/protocol';
import type { Output } from '../output/output.js';

const HEADER_BYTES = 64 * 1024;

/** A log that does not hold, and where. Its code is `audit-` and the flaw. */
class AuditRefuted extends Error {
  override readonly name = 'AuditRefuted';
  readonly code: string;
  readonly sentence: string;
  readonly errors: readonly { field: string; message: string }[];

  constructor({ flaw, record, why }: { flaw: AuditFlaw; record: number | null; why: string }) {
    const where = record === null ? 'the signed head' : `entry ${String(record)}`;
    super(`${where}: ${why}`);
    this.code = `audit-${flaw}`;
    this.sentence = `The log does not hold from ${where} on: ${why}.`;
    this.errors = record === null ? [] : [{ field: 'record', message: String(record) }];
  }
}

/** Whether a file is an audit bundle, by its first line. */
export async function isAuditBundle(file: string): Promise<boolean> {
  try {
    await using handle = await open(file, 'r');
    const { bytesRead, buffer } = await handle.read(Buffer.alloc(HEADER_BYTES), 0, HEADER_BYTES, 0);
    return isBundleHeader(buffer.toString('utf8', 0, bytesRead).split('\n', 1)[0] ?? '');
  } catch {
    // Whoever reads the file next says what is wrong with it.
    return false;
  }
}

/**
 * Checks a part of an audit log with no network, with pinned keys only.
 *
 * @param witness heads of this log that the other side kept; without them its owner could have written all of it anew
 * @throws AuditRefuted, which names the first entry that fails; LocalFault
 */
export async function verifyAudit(output: Output, file: string, trustFile: string, witness?: string): Promise<void> {
  const keys = await loadTrust(trustFile);
  const heads = witness === undefined ? [] : parseHeads(await textOf(witness)).map(({ envelope }) => envelope);
  const verdict = await verifyAuditBundle({ source: createReadStream(file), keys, witness: heads });
  if (!verdict.ok) throw new AuditRefuted(verdict);
  const { head, ...checked } = verdict;
  const audit = { logId: head.logId, size: head.size, signedAt: new Date(head.atMs).toISOString(), ...checked };
  output.result('verified', { file, trust: trustFile, audit }, [
    `verified with the keys of ${trustFile}`,
    ...describe(verdict, heads.length > 0),
  ]);
}

function describe(
  { head, from, to, agreed, beyond }: Extract<AuditVerdict, { ok: true }>,
  isWitnessed: boolean,
): string[] {
  return [
    `  entries ${String(from)} to ${String(to)} of the log of ${head.logId}`,
    `  head of ${String(head.size)} entries, signed by ${head.logId} at ${new Date(head.atMs).toISOString()}`,
    isWitnessed
      ? `  agrees with ${String(agreed)} heads of the witness; ${String(beyond)} are not about this part`
      : '  no witness: its owner alone could have written it anew (--witness FILE)',
  ];
}

async function textOf(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new LocalFault('file-missing', `${file} cannot be read.`, undefined, { cause });
  }
}
