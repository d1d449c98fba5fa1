import { ed25519 } from '@noble/curves/ed25519.js';
import { signPayload, envelopeDigest, keyRecordToJson } from '@capstan/identity';
import {
  AgentRole,
  CommandSchema,
  create,
  decodeEnvelope,
  decodeStrict,
  Direction,
  encodeEnvelope,
  EnvelopeSchema,
  KillScope,
  pae,
  PAYLOAD_TYPES,
  toBase64,
  toBinary,
  toHex,
  type Envelope,
  type FaultCode,
} from '@capstan/protocol';
import { toJson } from '@bufbuild/protobuf';
import { command, commandBytes, commandHeader, INSTANCE, KILL, NOW, signer, trust } from './world.js';

export interface EnvelopeVectors {
  description: string;
  receiver: { id: string; kind: string; purpose: string; direction: string; nowMs: number; skewMs: number };
  trust: unknown[];
  good: { name: string; envelope: string; digest: string; payload: unknown }[];
  bad: { name: string; envelope: string; code: FaultCode }[];
}

const good: Record<string, Envelope> = {
  spawn: command({
    case: 'spawn',
    value: {
      agentId: 'agent-1',
      taskId: 'task-1',
      role: AgentRole.WORKER,
      runtime: 'claude',
      context: { repository: '/srv/git/harbour.git', branch: 'main', workItems: ['Zähle die Dateien.', '🚢'] },
      options: { timeoutMs: 600_000n, priority: 7, budgetMicroUsd: 1_000_000n },
      onHubLost: { action: { case: 'killAfterMs', value: 60_000n } },
    },
  }),
  status: command({ case: 'status', value: { agentId: 'agent-1' } }),
  kill: command(KILL),
  'kill-all': command({ case: 'killAll', value: { scope: KillScope.INSTANCE, scopeId: INSTANCE, epoch: 1n } }),
  'issued 30 s in the future, which is still borne': command(KILL, commandHeader({ nowMs: NOW + 30_000 })),
  'expires in the next millisecond': command(KILL, commandHeader({ nowMs: NOW - 59_999 })),
  'signed by a stranger too': withSignature(command(KILL), 'stranger'),
};

function withSignature(e: Envelope, by: 'stranger' | 'hub, revoked'): Envelope {
  const signature = signPayload(signer(by), 'command', e.payload).signatures;
  return create(EnvelopeSchema, { ...e, signatures: [...signature, ...e.signatures] });
}

/** The order of the base point; S + L signs the same message unless S is checked (RFC 8032, 5.1.7). */
const L = ed25519.Point.Fn.ORDER;

/** The same signature with S + L for S. */
export function malleate(sig: Uint8Array): Uint8Array {
  const s = BigInt(`0x${toHex(sig.slice(32).reverse())}`) + L;
  const out = Uint8Array.from(sig);
  for (let at = 0; at < 32; at++) out[32 + at] = Number((s >> BigInt(8 * at)) & 255n);
  return out;
}

const KILL_BYTES = commandBytes(KILL);
const signed = (payload: Uint8Array): Envelope => signPayload(signer('hub'), 'command', payload);
const appended = (...bytes: number[]): Envelope => signed(Uint8Array.of(...KILL_BYTES, ...bytes));
const changed = (change: Partial<Envelope>): Envelope => create(EnvelopeSchema, { ...command(KILL), ...change });
const resigned = (edit: (sig: Uint8Array) => Uint8Array): Envelope =>
  changed({ signatures: command(KILL).signatures.map((one) => ({ ...one, sig: edit(one.sig) })) });
const by = (sign: (payload: Uint8Array) => Uint8Array): Envelope => resigned(() => sign(KILL_BYTES));
/** A length-delimited field of at most 127 bytes, its number below 16. */
const field = (no: number, content: number[]): number[] => [no * 8 + 2, content.length, ...content];
/** Field 99, "?". */
const UNKNOWN = [0x9a, 0x06, 1, 63];

/** A kill whose header is whatever `edit` makes of it: for what makeHeader refuses to make. */
function odd(edit: (header: ReturnType<typeof commandHeader>) => void): Envelope {
  const header = commandHeader();
  edit(header);
  return command(KILL, header);
}

const HEADER = [...toBinary(CommandSchema, create(CommandSchema, { header: commandHeader() }))];
const bytesOf = encodeEnvelope(command(KILL));

const bad: [name: string, code: FaultCode, envelope: Envelope | Uint8Array][] = [
  ['no bytes', 'envelope-malformed', new Uint8Array()],
  ['cut off in the signature', 'envelope-malformed', bytesOf.subarray(0, -1)],
  ['cut off in the payload', 'envelope-malformed', bytesOf.subarray(0, 100)],
  ['a field that the envelope does not have', 'envelope-malformed', Uint8Array.of(...bytesOf, ...UNKNOWN)],
  ['two payloads', 'envelope-malformed', Uint8Array.of(...bytesOf, ...field(2, [1]))],
  ['text instead of protobuf', 'envelope-malformed', new TextEncoder().encode('{"payloadType":"command"}')],
  [
    'nine signatures',
    'envelope-malformed',
    toBinary(EnvelopeSchema, changed({ signatures: Array(9).fill(command(KILL).signatures[0]) as [] })),
  ],
  ['a command under the type of a receipt', 'payload-type-unknown', changed({ payloadType: PAYLOAD_TYPES.receipt })],
  [
    'a type of another version',
    'payload-type-unknown',
    changed({ payloadType: PAYLOAD_TYPES.command.replace('v1', 'v2') }),
  ],
  [
    'the type in another spelling',
    'payload-type-unknown',
    changed({ payloadType: PAYLOAD_TYPES.command.toUpperCase() }),
  ],
  ['no signature', 'signature-missing', changed({ signatures: [] })],
  ['signed by a key that is not pinned', 'key-unknown', command(KILL, undefined, 'stranger')],
  ['signed by a revoked key', 'key-revoked', command(KILL, undefined, 'hub, revoked')],
  ['signed by a key for receipts', 'key-purpose', command(KILL, undefined, 'spoke')],
  [
    'one bit of the payload flipped',
    'signature-invalid',
    changed({ payload: KILL_BYTES.map((b, at) => (at === 40 ? b ^ 1 : b)) }),
  ],
  [
    'one bit of the signature flipped',
    'signature-invalid',
    resigned((sig) => sig.map((b, at) => (at === 5 ? b ^ 1 : b))),
  ],
  ['S + L for S', 'signature-invalid', resigned(malleate)],
  ['a signature of 63 bytes', 'signature-invalid', resigned((sig) => sig.slice(0, 63))],
  ['a signature of 65 bytes', 'signature-invalid', resigned((sig) => Uint8Array.of(...sig, 0))],
  ['a signature of nothing but zeros', 'signature-invalid', resigned(() => new Uint8Array(64))],
  ['signed without the pre-authentication encoding', 'signature-invalid', by((payload) => signer('hub').sign(payload))],
  [
    'signed for another type',
    'signature-invalid',
    by((payload) => signer('hub').sign(pae(PAYLOAD_TYPES.receipt, payload))),
  ],
  ['an unknown field in the payload', 'unknown-field', appended(...UNKNOWN)],
  ['an unknown field in the header', 'unknown-field', signed(Uint8Array.from(field(1, UNKNOWN)))],
  ['an unknown field in the body', 'unknown-field', signed(Uint8Array.of(...HEADER, ...field(4, UNKNOWN)))],
  [
    'an unknown field two levels into the body',
    'unknown-field',
    signed(Uint8Array.of(...HEADER, ...field(2, field(5, UNKNOWN)))),
  ],
  ['an enum value that does not exist', 'unknown-field', signed(Uint8Array.of(...HEADER, ...field(2, [0x18, 99])))],
  ['two headers', 'payload-malformed', appended(...HEADER)],
  ['two bodies', 'payload-malformed', appended(...field(3, field(1, [97])))],
  ['a payload that is cut off', 'payload-malformed', signed(KILL_BYTES.subarray(0, -1))],
  ['the body in the wire type of a number', 'payload-malformed', signed(Uint8Array.of(...HEADER, 0x20, 1))],
  ['text that is not UTF-8', 'payload-malformed', signed(Uint8Array.of(...HEADER, ...field(4, field(1, [0xff]))))],
  ['no header', 'payload-malformed', signed(toBinary(CommandSchema, create(CommandSchema, { body: KILL })))],
  ['expires before it was issued', 'payload-malformed', odd((h) => (h.expiresAtMs = h.issuedAtMs))],
  ['an id that is no UUIDv7', 'id-malformed', odd((h) => (h.id = 'f81d4fae-7dec-41d0-a765-00a0c91e6bf6'))],
  ['an id in capitals', 'id-malformed', odd((h) => (h.id = h.id.toUpperCase()))],
  ['an audience that is no id', 'id-malformed', odd((h) => (h.audience = 'quay:harbor'))],
  ['a tenant that is no id', 'id-malformed', odd((h) => (h.tenant = '../other'))],
  ['for another instance', 'wrong-audience', command(KILL, commandHeader({ audience: 'harbor' }))],
  [
    'reflected: from spoke to hub',
    'wrong-direction',
    command(KILL, commandHeader({ direction: Direction.SPOKE_TO_HUB })),
  ],
  ['without a direction', 'wrong-direction', command(KILL, commandHeader({ direction: Direction.UNSPECIFIED }))],
  ["in another's name", 'wrong-issuer', command(KILL, commandHeader({ issuer: 'other-hub' }))],
  ['expires now', 'expired', command(KILL, commandHeader({ nowMs: NOW - 60_000 }))],
  ['issued 30.001 s in the future', 'clock-skew', command(KILL, commandHeader({ nowMs: NOW + 30_001 }))],
];

/** Commands as a spoke gets them, and what it says about each. */
export function envelopeVectors(): EnvelopeVectors {
  return {
    description:
      'Commands to one receiver. The order of its checks decides which code a command gets that is wrong twice.',
    receiver: {
      id: INSTANCE,
      kind: 'command',
      purpose: 'command',
      direction: 'DIRECTION_HUB_TO_SPOKE',
      nowMs: NOW,
      skewMs: 30_000,
    },
    trust: trust().records().map(keyRecordToJson),
    good: Object.entries(good).map(([name, envelope]) => ({
      name,
      envelope: toBase64(encodeEnvelope(envelope)),
      digest: toHex(envelopeDigest(envelope)),
      payload: toJson(CommandSchema, decodeStrict(CommandSchema, decodeEnvelope(encodeEnvelope(envelope)).payload)),
    })),
    bad: bad.map(([name, code, envelope]) => ({
      name,
      envelope: toBase64(envelope instanceof Uint8Array ? envelope : encodeEnvelope(envelope)),
      code,
    })),
  };
}
