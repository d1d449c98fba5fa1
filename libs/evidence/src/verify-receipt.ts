import {
  checkHeader,
  checkIssuedInTime,
  envelopeDigest,
  verifyEnvelope,
  type KeyRecord,
  type KeyRing,
} from '@capstan/identity';
import {
  bytesEqual,
  CommandSchema,
  decodeStrict,
  Direction,
  ReceiptSchema,
  WireFault,
  type Envelope,
  type Receipt,
} from '@capstan/protocol';
import { checkAnswers } from './answered-command.js';
import { checkKillAllScope, verifyKillAll, type VerifiedKillAll } from './kill-all-statement.js';
import { verifyObservation, type VerifiedObservation } from './observation.js';
import { verifyProbe, type VerifiedProbe } from './probe.js';
import { receiptKind, type ReceiptKind } from './receipt-kind.js';

export { receiptKind, type ReceiptKind } from './receipt-kind.js';

/** A receipt of which everything that it claims about signatures, command and deaths holds. */
export interface VerifiedReceipt {
  kind: ReceiptKind;
  receipt: Receipt;
  /** The instance that signed it. */
  issuer: string;
  /** The key with which it did. */
  key: KeyRecord;
  /** SHA-256 of the receipt's own PAE. */
  digest: Uint8Array;
  /** True when the command was given, and it is the one that the receipt answers. */
  commandBound: boolean;
  /** The observed death of a `killed` receipt. */
  observation?: VerifiedObservation;
  /** The observed deaths of a `killed-all` receipt. */
  observations: VerifiedObservation[];
  /** What the reaper says that a `killed-all` receipt covers; absent where it has not said it, which confirms nothing. */
  killAll?: VerifiedKillAll;
  /** What the reaper signed, of a `probed` receipt. */
  probe?: VerifiedProbe;
}

export interface ReceiptToVerify {
  envelope: Envelope;
  /** Pinned keys: the instance's of purpose `receipt`, its reaper's of purpose `observe`. */
  keys: KeyRing;
  /** The command or query that it should answer. */
  command?: Envelope;
  /** The hub that it should be addressed to. */
  hubId?: string;
}

/**
 * Verifies a receipt at any time after it was made, online or offline; no clock is asked.
 *
 * @throws {WireFault} as `verifyEnvelope`, `decodeStrict` and `checkHeader`; `receipt-mismatch` where it does not answer the command;
 *   `observation-missing` or `observation-invalid` where it claims a death that the reaper did not sign; `statement-invalid`
 *   where it names other agents of a kill-all than the reaper, or another kill-all was stated
 */
export function verifyReceipt({ envelope, keys, command, hubId }: ReceiptToVerify): VerifiedReceipt {
  const { key, digest } = verifyEnvelope(envelope, { kind: 'receipt', purpose: 'receipt', keys });
  const receipt = decodeStrict(ReceiptSchema, envelope.payload);
  const header = checkHeader(receipt.header, {
    issuer: key.owner,
    audience: hubId ?? receipt.header?.audience ?? '',
    direction: Direction.SPOKE_TO_HUB,
    nowMs: 0,
    expiry: 'exempt',
  });
  checkIssuedInTime(key, header);
  const kind = receiptKind(receipt);
  checkSubject(receipt);
  if (command !== undefined) {
    if (!bytesEqual(envelopeDigest(command), receipt.commandDigest)) throw new WireFault('receipt-mismatch', 'digest');
    checkAnswers(receipt, kind, header, command);
  }
  const observations = observedDeaths(receipt, key.owner, keys);
  const killAll = statedKillAll(receipt, key.owner, keys, command);
  const probe = probeAnswer(receipt, key.owner, keys, command);
  return {
    kind,
    receipt,
    issuer: key.owner,
    key,
    digest,
    commandBound: command !== undefined,
    observations: kind === 'killed-all' ? observations : [],
    ...(kind === 'killed' && observations[0] !== undefined ? { observation: observations[0] } : {}),
    ...(killAll === undefined ? {} : { killAll }),
    ...(probe === undefined ? {} : { probe }),
  };
}

/** A receipt about one agent cannot carry the state of another. */
function checkSubject({ agentId, result }: Receipt): void {
  if (result.case !== 'spawned' && result.case !== 'status' && result.case !== 'finished') return;
  if (result.value.agentId !== agentId) throw new WireFault('receipt-mismatch', 'the state is that of another agent');
}

function statedKillAll(
  { commandDigest, result }: Receipt,
  instance: string,
  keys: KeyRing,
  command: Envelope | undefined,
): VerifiedKillAll | undefined {
  if (result.case !== 'killedAll') return undefined;
  const stated = verifyKillAll({ instance, commandDigest, result: result.value }, keys);
  if (stated !== undefined && command !== undefined) checkKillAllScope(stated, command);
  return stated;
}

function probeAnswer(
  { commandDigest, result }: Receipt,
  instance: string,
  keys: KeyRing,
  command: Envelope | undefined,
): VerifiedProbe | undefined {
  if (result.case !== 'probed') return undefined;
  const asked = command === undefined ? undefined : decodeStrict(CommandSchema, command.payload).body;
  const nonce = asked?.case === 'probe' ? asked.value.nonce : undefined;
  return verifyProbe({ instance, commandDigest, result: result.value }, keys, nonce);
}

function observedDeaths(receipt: Receipt, instance: string, keys: KeyRing): VerifiedObservation[] {
  const { commandDigest, result } = receipt;
  if (result.case === 'killed') {
    const claim = { instance, agentId: receipt.agentId, commandDigest, result: result.value, isOfThisOrder: false };
    return [verifyObservation(claim, keys)].filter((seen) => seen !== undefined);
  }
  if (result.case !== 'killedAll') return [];
  return result.value.agents.flatMap((agent) => {
    if (agent.result === undefined) throw new WireFault('payload-malformed', `no result for ${agent.agentId}`);
    const claim = { instance, agentId: agent.agentId, commandDigest, result: agent.result, isOfThisOrder: true };
    const seen = verifyObservation(claim, keys);
    return seen === undefined ? [] : [seen];
  });
}
