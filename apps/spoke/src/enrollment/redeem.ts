import { envelopeDigest, type Fetch, keyRecord, KeyRing, openEnvelope, pinnedFetch } from '@capstan/identity';
import {
  bytesEqual,
  decodeEnvelope,
  Direction,
  encodeEnvelope,
  type Enrolled,
  EnrolledSchema,
  type Envelope,
  faultSentence,
  fromBase64,
  LocalFault,
  stripControl,
  toBase64,
  WireFault,
} from '@capstan/protocol';
import type { Invite } from './invite.js';

const ANSWER_MS = 15_000;

/** What the spoke lets the hub's key do. */
export function hubKeys({ hubId, hubKey, hubKeyEpoch: epoch }: Invite): KeyRing {
  return new KeyRing([{ ...keyRecord(hubId, hubKey, ['link', 'command', 'admit', 'lease']), epoch }]);
}

/**
 * Sends the statement, and verifies that the answer comes from the invited hub and admits this very statement.
 *
 * @throws LocalFault `hub-unreachable`, `tls-pin-mismatch`, `enrollment-refused` (the sentence is the hub's), `enrollment-forged`
 */
export async function redeem(
  invite: Invite,
  statement: Envelope,
  instanceId: string,
  nowMs: number,
): Promise<Enrolled> {
  const answer = await post(pinnedFetch(invite.tls.pin), new URL('/api/v1/federation/enrollments/redeem', invite.url), {
    secret: invite.secret,
    enrollment: toBase64(encodeEnvelope(statement)),
  });
  try {
    const { payload } = openEnvelope(decodeEnvelope(fromBase64(String(answer['enrolled']))), EnrolledSchema, {
      kind: 'enrolled',
      purpose: 'link',
      keys: hubKeys(invite),
      audience: instanceId,
      direction: Direction.HUB_TO_SPOKE,
      nowMs,
    });
    if (payload.instanceId !== instanceId) throw new WireFault('enrollment-mismatch', 'another instance');
    if (!bytesEqual(payload.enrollmentDigest, envelopeDigest(statement)))
      throw new WireFault('enrollment-mismatch', 'another statement');
    return payload;
  } catch (cause) {
    throw new LocalFault('enrollment-forged', 'The answer does not come from the hub that was invited to.', undefined, {
      cause,
    });
  }
}

async function post(fetch: Fetch, url: URL, body: unknown): Promise<Record<string, unknown>> {
  let response: Response;
  let text: string;
  try {
    const signal = AbortSignal.timeout(ANSWER_MS);
    const headers = { 'content-type': 'application/json' };
    response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body), signal });
    text = await response.text();
  } catch (cause) {
    if (cause instanceof LocalFault) throw cause;
    throw new LocalFault('hub-unreachable', 'The hub cannot be reached.', url.origin, { cause });
  }
  const json = parse(text);
  if (response.ok) return json;
  const code = typeof json['code'] === 'string' ? json['code'] : String(response.status);
  throw new LocalFault(
    'enrollment-refused',
    `The hub refused: ${stripControl(faultSentence(code)).slice(0, 300)}`,
    code,
  );
}

function parse(text: string): Record<string, unknown> {
  try {
    const json = JSON.parse(text) as unknown;
    return typeof json === 'object' && json !== null ? (json as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}
