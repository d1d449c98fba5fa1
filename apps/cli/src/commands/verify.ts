import { readFile } from 'node:fs/promises';
import { describeReceipt, parseBundle, provesKillAll, type VerifiedBundle, verifyBundle } from '@capstan/evidence';
import { loadTrust } from '@capstan/identity';
import { defaultContextFile, loadContext } from '@capstan/localmesh';
import { LocalFault } from '@capstan/protocol';
import { isAuditBundle, verifyAudit } from '../audit/verify-audit.js';
import type { Output } from '../output/output.js';

const MAX_FILE_BYTES = 8 * 1024 * 1024;

/**
 * Checks a receipt with no network: signatures, what it answers, and the observed death that it claims; or a part of an
 * audit log. Trusts `--trust`, else the keys that the context pinned; never a key inside the file.
 *
 * @throws WireFault, LocalFault as evidence's `verifyBundle` and `parseBundle`; `file-missing`
 */
export async function verify(
  output: Output,
  file: string,
  options: { context?: string; trust?: string; witness?: string },
): Promise<void> {
  const trustFile = options.trust ?? (await loadContext(options.context ?? defaultContextFile())).trustFile;
  if (await isAuditBundle(file)) {
    await verifyAudit(output, file, trustFile, options.witness);
    return;
  }
  const [bundle, keys] = await Promise.all([readBundle(file), loadTrust(trustFile)]);
  const verified = verifyBundle(parseBundle(bundle), keys);
  output.result(
    'verified',
    {
      file,
      trust: trustFile,
      receipt: {
        kind: verified.kind,
        issuer: verified.issuer,
        commandId: verified.receipt.commandId,
        commandBound: verified.commandBound,
        orderedBy: verified.orderedBy,
        agentId: verified.receipt.agentId,
        observation: verified.observation ?? null,
        killAll: killAllOf(verified),
      },
    },
    [`verified with the keys of ${trustFile}`, ...describeReceipt(verified).map((line) => `  ${line}`)],
  );
}

/** What a kill-all's receipt proves; null for another receipt. `scope` is null where the reaper has not stated it. */
function killAllOf({ receipt, killAll, observations, commandBound, orderedBy }: VerifiedBundle): object | null {
  if (receipt.result.case !== 'killedAll') return null;
  const { agents, epoch } = receipt.result.value;
  return {
    // Without its order there is nothing that scope and epoch could be compared with.
    confirmed: provesKillAll(receipt) && commandBound && orderedBy !== null,
    epoch: String(epoch),
    scope: killAll?.scope ?? null,
    tenant: killAll?.scopeId ?? '',
    agents: agents.map(({ agentId }) => agentId),
    observations,
  };
}

async function readBundle(file: string): Promise<unknown> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    throw new LocalFault('file-missing', `${file} cannot be read.`, undefined, { cause: error });
  }
  if (text.length > MAX_FILE_BYTES) throw new LocalFault('bundle-malformed', 'This is too large for a receipt.');
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new LocalFault('bundle-malformed', `${file} is no JSON.`, undefined, { cause: error });
  }
}
