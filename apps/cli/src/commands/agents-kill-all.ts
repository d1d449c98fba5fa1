import { lacksStatement, provesKillAll } from '@capstan/evidence';
import type { KillAllLine, MeshContext } from '@capstan/localmesh';
import { ExitCode } from '../exit-codes.js';
import { openContext } from '../open-context.js';
import type { Output } from '../output/output.js';
import { leaseText, unconfirmedText } from '../output/unconfirmed.js';
import { checkReceipt } from '../receipts.js';
import { optionOf, scopeOf, type ScopeOptions } from './scope.js';

const WAIT_MS = 10_000;

type KillAllOptions = { context?: string; tokenFile?: string } & ScopeOptions;

/** What one instance has answered, checked here. */
type CheckedLine = Omit<KillAllLine, 'receipt'>;

/**
 * Kills every agent of a scope, and lets none start in it until it is re-armed. Never asks. Exit code 0 only where every
 * instance has proven it, by receipts that hold with the keys pinned here.
 */
export async function killAll(output: Output, options: KillAllOptions): Promise<void> {
  const body = { ...scopeOf(options), waitMs: WAIT_MS };
  const { context, client } = await openContext(options);
  const checking: Promise<CheckedLine>[] = [];
  const totals = await client.killAll(body, (line) => {
    checking.push(
      checked(line, context).then((it) => {
        output.line(lineText(it));
        return it;
      }),
    );
  });
  const instances = await Promise.all(checking);
  const confirmed = instances.filter((line) => line.confirmed).length;
  const isConfirmed = confirmed === totals.instances;
  if (!isConfirmed) output.exitCode = ExitCode.timeout;
  const { scope } = body;
  output.result('kill-all', { scope, confirmed: isConfirmed, instances, totals: { ...totals, confirmed } }, [
    `${String(confirmed)} of ${String(totals.instances)} instances confirmed, ${String(totals.agents['killed'] ?? 0)} agents killed.`,
    `Nothing starts in this scope until another admin has re-armed it: npx capstan agents rearm ${optionOf(body)} --token-file FILE`,
  ]);
}

/** The hub's own word is not enough. */
async function checked({ receipt, ...line }: KillAllLine, context: MeshContext): Promise<CheckedLine> {
  if (!line.confirmed) return line;
  try {
    if (receipt === undefined) return { ...line, confirmed: false, code: 'receipt-mismatch' };
    const { kind, issuer, receipt: signed } = await checkReceipt(receipt, context);
    if (kind !== 'killed-all' || issuer !== line.instance)
      return { ...line, confirmed: false, code: 'receipt-mismatch' };
    if (provesKillAll(signed)) return line;
    return { ...line, confirmed: false, code: lacksStatement(signed) ? 'statement-missing' : 'observation-missing' };
  } catch (error) {
    return { ...line, confirmed: false, code: codeOf(error) };
  }
}

function codeOf(error: unknown): string {
  const { code } = (error ?? {}) as { code?: unknown };
  return typeof code === 'string' ? code : 'internal';
}

function lineText({ instance, confirmed, agents, reason, code, leasesEndAt, ms }: CheckedLine): string {
  if (confirmed) return `${instance}: confirmed, ${String(agents.length)} agents, ${String(ms)} ms`;
  return `${instance}: ${unconfirmedText(reason ?? 'unconfirmed', code)} ${leaseText(leasesEndAt, 'them')}`;
}
