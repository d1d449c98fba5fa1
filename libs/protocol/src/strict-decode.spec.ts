import { create, toBinary, type DescMessage } from '@bufbuild/protobuf';
import { ListValueSchema } from '@bufbuild/protobuf/wkt';
import fc from 'fast-check';
import * as protocol from './index.js';
import { CommandSchema, AgentRole } from './gen/capstan/v1/command_pb.js';
import { HeaderSchema } from './gen/capstan/v1/header_pb.js';
import { HelloSchema } from './gen/capstan/v1/link_pb.js';
import { KillAllResultSchema } from './gen/capstan/v1/receipt_pb.js';
import { decodeStrict } from './strict-decode.js';
import { checkWire } from './wire-check.js';
import { WireFault } from './wire-fault.js';

const spawn = create(CommandSchema, {
  header: { id: '0190a6f4-0000-7000-8000-000000000000', issuer: 'hub', audience: 'quay', expiresAtMs: 2n ** 60n },
  body: {
    case: 'spawn',
    value: {
      agentId: 'a1',
      role: AgentRole.WORKER,
      context: { repository: '/r', workItems: ['one', 'zwei €'] },
      onHubLost: { action: { case: 'killAfterMs', value: 60_000n } },
    },
  },
});

/** A length-delimited field. */
const field = (no: number, content: Uint8Array): Uint8Array =>
  Uint8Array.of(...varint(no * 8 + 2), ...varint(content.length), ...content);
const number = (no: number, value: number): Uint8Array => Uint8Array.of(...varint(no * 8), ...varint(value));
const join = (...parts: Uint8Array[]): Uint8Array => Uint8Array.from(parts.flatMap((part) => [...part]));
const text = (s: string): Uint8Array => new TextEncoder().encode(s);
const UNKNOWN = field(99, text('surprise'));

function varint(value: number): number[] {
  const out = [];
  for (; value > 127; value = Math.floor(value / 128)) out.push((value % 128) | 128);
  return [...out, value];
}

function codeOf(schema: DescMessage, bytes: Uint8Array): string {
  try {
    decodeStrict(schema, bytes);
    return 'accepted';
  } catch (error) {
    return error instanceof WireFault ? error.code : String(error);
  }
}

describe('decodeStrict', () => {
  it('reads what was written', () => {
    expect(decodeStrict(CommandSchema, toBinary(CommandSchema, spawn))).toEqual(spawn);
  });

  it.each([
    ['at the top', join(toBinary(CommandSchema, spawn), UNKNOWN)],
    ['in a nested message', field(1, UNKNOWN)],
    ['in a branch of a oneof', field(2, UNKNOWN)],
    ['two levels down', field(2, field(5, join(field(1, text('/r')), UNKNOWN)))],
    ['before the known fields', join(UNKNOWN, toBinary(CommandSchema, spawn))],
  ])('refuses an unknown field %s', (_where, bytes) => {
    expect(codeOf(CommandSchema, bytes)).toBe('unknown-field');
  });

  it('refuses an unknown field in the last message of a list', () => {
    const agents = [field(2, field(1, text('a1'))), field(2, join(field(1, text('a2')), UNKNOWN))];
    expect(codeOf(KillAllResultSchema, join(...agents))).toBe('unknown-field');
  });

  it.each([
    ['varint', number(99, 1)],
    ['64 bit', Uint8Array.of(...varint(99 * 8 + 1), 1, 2, 3, 4, 5, 6, 7, 8)],
    ['group', Uint8Array.of(...varint(99 * 8 + 3), ...varint(99 * 8 + 4))],
    ['32 bit', Uint8Array.of(...varint(99 * 8 + 5), 1, 2, 3, 4)],
    ['number past 2^29', field(2 ** 30, text('x'))],
  ])('refuses an unknown field of every wire type: %s', (_wire, bytes) => {
    expect(codeOf(CommandSchema, bytes)).toBe('unknown-field');
  });

  it('refuses an enum value that this version does not know', () => {
    expect(codeOf(CommandSchema, field(2, number(3, 99)))).toBe('unknown-field');
  });

  it('refuses a branch of a oneof that a later one would replace, unknown fields and all', () => {
    expect(codeOf(CommandSchema, join(field(2, UNKNOWN), field(4, field(1, text('a1')))))).toBe('unknown-field');
    expect(codeOf(CommandSchema, join(field(2, text('')), field(4, field(1, text('a1')))))).toBe('payload-malformed');
  });

  it('refuses a field that comes twice', () => {
    expect(codeOf(HeaderSchema, join(field(2, text('hub')), field(2, text('mallory'))))).toBe('payload-malformed');
    expect(codeOf(CommandSchema, join(field(1, text('')), field(1, text(''))))).toBe('payload-malformed');
  });

  it('refuses a field in another wire type', () => {
    expect(codeOf(HeaderSchema, number(2, 0))).toBe('payload-malformed');
    expect(codeOf(HeaderSchema, Uint8Array.of(2 << 3, 3, 97, 98, 99))).toBe('payload-malformed');
    expect(codeOf(HeaderSchema, field(5, Uint8Array.of(1)))).toBe('payload-malformed');
  });

  it('refuses a nested message whose last field passes its end', () => {
    const nested = Uint8Array.of((2 << 3) | 2, 4, (1 << 3) | 2, 20, 97, 98);
    expect(codeOf(CommandSchema, join(nested, new Uint8Array(40)))).toBe('payload-malformed');
  });

  it('refuses a number of fixed size that passes the end of its message', () => {
    const double = Uint8Array.of((2 << 3) | 1, 1, 2, 3, 4, 5, 6, 7, 8);
    expect(codeOf(ListValueSchema, Uint8Array.of(10, double.length, ...double))).toBe('accepted');
    expect(codeOf(ListValueSchema, Uint8Array.of(10, 5, ...double))).toBe('payload-malformed');
  });

  it.each([
    [8, 'accepted'],
    [9, 'payload-malformed'],
    [3000, 'payload-malformed'],
  ])('finds %i lists, each an element of the one before, %s', (count, code) => {
    let lists: Uint8Array = new Uint8Array();
    for (let depth = 1; depth < count; depth++) lists = field(1, field(6, lists));
    expect(codeOf(ListValueSchema, lists)).toBe(code);
  });

  it('refuses text that is not UTF-8', () => {
    expect(codeOf(HeaderSchema, field(2, Uint8Array.of(0xff, 0xfe)))).toBe('payload-malformed');
  });

  it('refuses a number of more than ten bytes', () => {
    expect(codeOf(HeaderSchema, Uint8Array.of(9 << 3, ...new Array<number>(10).fill(0x80), 0))).toBe(
      'payload-malformed',
    );
  });

  it('takes a list of numbers packed and one by one', () => {
    expect(decodeStrict(HelloSchema, field(4, Uint8Array.of(1, 2))).versions).toEqual([1, 2]);
    expect(decodeStrict(HelloSchema, join(number(4, 1), number(4, 2))).versions).toEqual([1, 2]);
    expect(codeOf(HelloSchema, field(4, Uint8Array.of(1, 0x80)))).toBe('payload-malformed');
  });

  it('refuses a payload that is cut off anywhere inside a field', () => {
    const whole = toBinary(CommandSchema, spawn);
    const header = 2 + (whole[1] ?? 0);
    for (let size = 1; size < whole.length; size++) {
      if (size !== header)
        expect([size, codeOf(CommandSchema, whole.subarray(0, size))]).toEqual([size, 'payload-malformed']);
    }
  });

  it('never throws anything but a WireFault, whatever the bytes', () => {
    const valid = toBinary(CommandSchema, spawn);
    const mutated = fc
      .array(fc.tuple(fc.nat(valid.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 })
      .map((edits) => edits.reduce((bytes, [at, byte]) => bytes.fill(byte, at, at + 1), Uint8Array.from(valid)));
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), mutated), (bytes) => {
        expect(['accepted', 'payload-malformed', 'unknown-field']).toContain(codeOf(CommandSchema, bytes));
      }),
      { numRuns: 3000 },
    );
  });

  it('knows how every message of the protocol looks on the wire', () => {
    const schemas = (Object.values(protocol) as unknown[]).filter(isSchema);
    expect(schemas.length).toBeGreaterThan(40);
    for (const schema of schemas) expect(() => checkWire(schema, toBinary(schema, create(schema)))).not.toThrow();
  });
});

function isSchema(value: unknown): value is DescMessage {
  return typeof value === 'object' && value !== null && (value as { kind?: unknown }).kind === 'message';
}
