import { create, type DescField, type DescMessage, ScalarType, toBinary as libraryToBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema, StructSchema } from '@bufbuild/protobuf/wkt';
import fc from 'fast-check';
import { CommandSchema } from './gen/capstan/v1/command_pb.js';
import { HeaderSchema } from './gen/capstan/v1/header_pb.js';
import * as protocol from './index.js';
import { toBinary } from './to-binary.js';

const SCHEMAS = (Object.values(protocol) as unknown[]).filter(isSchema);

/** Zero, small, beyond one byte of a varint, and the largest; texts of which one is no ASCII and one is long. */
const VALUES: Partial<Record<ScalarType, readonly unknown[]>> = {
  [ScalarType.STRING]: ['', 'quay', 'zwei €', 'x'.repeat(300)],
  [ScalarType.BYTES]: [new Uint8Array(), Uint8Array.of(0), new Uint8Array(200).fill(7), new Uint8Array(2_000).fill(9)],
  [ScalarType.BOOL]: [false, true],
  [ScalarType.UINT32]: [0, 1, 300, 0xffffffff],
  [ScalarType.UINT64]: [0n, 1n, 300n, 2n ** 64n - 1n],
  [ScalarType.INT64]: [0n, 1n, -1n, 2n ** 63n - 1n],
};

describe('toBinary', () => {
  it.each(SCHEMAS.map((schema) => [schema.typeName, schema] as const))('writes %s as protobuf-es does', (_, schema) => {
    const choices = fc.infiniteStream(fc.nat(11));
    fc.assert(
      fc.property(choices, (stream) => {
        const message = create(schema, sample(schema, () => stream.next().value, 1) as never);
        expect(Buffer.from(toBinary(schema, message)).equals(libraryToBinary(schema, message))).toBe(true);
      }),
      { numRuns: 25 },
    );
  });

  it('gives each message bytes of its own', () => {
    const first = toBinary(HeaderSchema, create(HeaderSchema, { issuer: 'quay' }));
    const copy = Uint8Array.from(first);
    toBinary(HeaderSchema, create(HeaderSchema, { issuer: 'harbor', audience: 'quay' }));
    expect(first).toEqual(copy);
  });

  it.each([
    ['a map', StructSchema, create(StructSchema, { fields: { a: { kind: { case: 'boolValue', value: true } } } })],
    ['a zero that counts', FileDescriptorProtoSchema, create(FileDescriptorProtoSchema, { name: '' })],
  ])('never leaves out what it cannot write: %s, however often it is asked', (_what, schema, message) => {
    for (const _again of [1, 2]) expect(() => toBinary(schema as DescMessage, message)).toThrow('no encoding');
  });

  it('writes whole messages after one that could not be written', () => {
    const command = create(CommandSchema, { header: { issuer: 'quay', keyEpoch: 1 } });
    const whole = libraryToBinary(CommandSchema, command);
    const wrong = create(CommandSchema, { header: { issuer: 'quay', keyEpoch: -1 } });
    expect(() => toBinary(CommandSchema, wrong)).toThrow();
    expect(Buffer.from(toBinary(CommandSchema, command)).equals(whole)).toBe(true);
  });
});

/** What `create` takes for a message in which each field is set or not as `choose` says. */
function sample(schema: DescMessage, choose: () => number, depth: number): Record<string, unknown> {
  const init: Record<string, unknown> = {};
  for (const field of schema.fields) {
    const isLeftOut = choose() % 4 === 0 || (depth > 4 && field.message !== undefined);
    if (isLeftOut) continue;
    const value = valueOf(field, choose, depth);
    if (field.oneof === undefined) init[field.localName] = value;
    else init[field.oneof.localName] = { case: field.localName, value };
  }
  return init;
}

function valueOf(field: DescField, choose: () => number, depth: number): unknown {
  const one = (): unknown => {
    if (field.message !== undefined) return sample(field.message, choose, depth + 1);
    const known = field.enum?.values.map((each) => each.number) ?? VALUES[field.scalar ?? ScalarType.STRING] ?? [];
    return known[choose() % known.length];
  };
  return field.fieldKind === 'list' ? Array.from({ length: choose() % 3 }, one) : one();
}

function isSchema(value: unknown): value is DescMessage {
  return typeof value === 'object' && value !== null && (value as { kind?: unknown }).kind === 'message';
}
