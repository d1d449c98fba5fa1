import type { HubClient, MeshContext, ProbeView } from '@capstan/localmesh';
import { ExitCode } from '../exit-codes.js';
import { openContext } from '../open-context.js';
import type { Output } from '../output/output.js';
import { checkReceipt } from '../receipts.js';

/** Nothing was asked of any instance. */
const NO_ANSWER = ['hub-unreachable', 'unauthorized', 'instance-unknown', 'not-found'];

/** What a probe has shown of one instance. */
interface Probed {
  instance: string;
  proven: boolean;
  latencyMs: number | null;
  livingAgents: number | null;
  code: string | null;
}

/**
 * Proves that a kill would reach the reapers, of one instance or of all: the answers are checked with the keys pinned
 * here. Exit code 0 only where each of them was proven.
 */
export async function probe(output: Output, options: { context?: string; on?: string }): Promise<void> {
  const { context, client } = await openContext(options);
  const names = options.on === undefined ? await linkable(client) : [options.on];
  const instances = await Promise.all(
    names.map(async (instance) => {
      const probed = await one(client, context, instance);
      output.line(lineText(probed));
      return probed;
    }),
  );
  const isProven = instances.length > 0 && instances.every(({ proven }) => proven);
  if (!isProven) output.exitCode = ExitCode.timeout;
  const proven = instances.filter((each) => each.proven).length;
  output.result('probe', { proven: isProven, instances }, [
    `${String(proven)} of ${String(instances.length)} instances are stoppable.`,
  ]);
}

async function linkable(client: HubClient): Promise<string[]> {
  const connections = await client.connections();
  return connections.filter(({ state }) => state === 'ACTIVE' || state === 'SUSPENDED').map((each) => each.instanceId);
}

async function one(client: HubClient, context: MeshContext, instance: string): Promise<Probed> {
  try {
    const answer = await client.probe(instance);
    await check(answer, context);
    const { latencyMs, livingAgents } = answer;
    return { instance, proven: true, latencyMs, livingAgents, code: null };
  } catch (error) {
    const { code } = (error ?? {}) as { code?: unknown };
    if (typeof code !== 'string' || NO_ANSWER.includes(code)) throw error;
    return { instance, proven: false, latencyMs: null, livingAgents: null, code };
  }
}

/** Nonce and digest are compared with the command that the receipt answers. @throws WireFault */
async function check({ instance, receipt }: ProbeView, context: MeshContext): Promise<void> {
  const { issuer, probe: answered } = await checkReceipt(receipt, context);
  if (issuer !== instance || answered === undefined)
    throw Object.assign(new Error('the answer is another instance’s'), { code: 'receipt-mismatch' });
}

function lineText({ instance, proven, latencyMs, livingAgents, code }: Probed): string {
  if (!proven) return `${instance}: NOT STOPPABLE (${code ?? 'no answer'})`;
  return `${instance}: stoppable, proven in ${String(latencyMs)} ms, ${String(livingAgents)} agents alive`;
}
