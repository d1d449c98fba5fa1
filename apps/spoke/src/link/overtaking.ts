import type { KeyRing } from '@capstan/identity';
import type { LaneName, LinkMessage } from '@capstan/protocol';

/**
 * Whether a message waits for no statement about the hub's key that came before it: what comes on the lane kill and is
 * signed by a key of the hub that is pinned already. Says nothing of the signature; that is verified as ever.
 */
export function overtakesStatements(lane: LaneName, { body }: LinkMessage, hubKeys: KeyRing): boolean {
  if (lane !== 'kill') return false;
  const envelope = body.case === 'routed' ? body.value.admission : body.case === 'envelope' ? body.value : undefined;
  return (envelope?.signatures ?? []).some(({ keyId }) => {
    const key = hubKeys.get(keyId);
    return key !== undefined && key.revokedAt === undefined;
  });
}
