import type { DescField, DescMessage } from '@bufbuild/protobuf';
import { ScalarType } from '@bufbuild/protobuf';
import { LIMITS } from './limits.js';
import { WireFault } from './wire-fault.js';

/*
 * Written by hand because protobuf-es decodes what another parser would read otherwise: it lets a nested message run
 * past its own end, takes a field in any wire type, and forgets the unknown fields of a oneof branch that a later
 * branch replaces. One pass over the bytes with a table per message type finds all of that and costs a fraction of
 * decoding.
 */

const VARINT = 0;
const BIT64 = 1;
const LENGTH = 2;
const BIT32 = 5;

/** What one field may look like on the wire. */
interface FieldRule {
  readonly name: string;
  readonly wire: number;
  readonly repeated: boolean;
  /** Repeated numbers travel packed into one run of bytes, or one by one. */
  readonly packable: boolean;
  /** Bit that stands for this field, or for its whole oneof, in the set of what was seen. */
  readonly slot: number;
  readonly nested: DescMessage | undefined;
  readonly values: ReadonlySet<number> | undefined;
}

type Rules = readonly (FieldRule | undefined)[];

const cache = new WeakMap<DescMessage, Rules>();

function rulesOf(schema: DescMessage): Rules {
  const known = cache.get(schema);
  if (known !== undefined) return known;
  const rules: (FieldRule | undefined)[] = [];
  for (const field of schema.fields) rules[field.number] = ruleOf(field);
  cache.set(schema, rules);
  return rules;
}

function ruleOf(field: DescField): FieldRule {
  // Maps and groups do not occur in our messages; generated code that brings one must bring its rule.
  if (field.fieldKind === 'map' || field.number > 31) throw new TypeError(`no wire rule for ${field.toString()}`);
  const wire = wireOf(field);
  const repeated = field.fieldKind === 'list';
  return {
    name: field.toString(),
    wire,
    repeated,
    packable: repeated && wire !== LENGTH,
    slot: 1 << (field.oneof === undefined ? field.number : (field.oneof.fields[0] ?? field).number),
    nested: field.message,
    values: field.enum === undefined ? undefined : new Set(field.enum.values.map((value) => value.number)),
  };
}

function wireOf(field: DescField): number {
  if (field.message !== undefined) return LENGTH;
  if (field.enum !== undefined) return VARINT;
  switch (field.scalar) {
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return LENGTH;
    case ScalarType.DOUBLE:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return BIT64;
    case ScalarType.FLOAT:
    case ScalarType.FIXED32:
    case ScalarType.SFIXED32:
      return BIT32;
    default:
      return VARINT;
  }
}

/**
 * Checks the shape of a serialized message without building it.
 *
 * @throws {WireFault} `unknown-field` for a field or enum value that the schema does not have, at any depth;
 *   `payload-malformed` for everything else that is wrong.
 */
export function checkWire(schema: DescMessage, bytes: Uint8Array): void {
  new WireCheck(bytes).message(schema, bytes.length, 1);
}

class WireCheck {
  private at = 0;

  constructor(private readonly bytes: Uint8Array) {}

  message(schema: DescMessage, end: number, depth: number): void {
    if (depth > LIMITS.nesting) throw malformed(schema, 'nested too deeply');
    const rules = rulesOf(schema);
    let seen = 0;
    while (this.at < end) {
      const tag = this.varint(schema, end);
      const rule = tag >= 0x1_0000_0000 ? undefined : rules[tag >>> 3];
      if (rule === undefined)
        throw new WireFault('unknown-field', `${schema.typeName} field ${String(Math.floor(tag / 8))}`);
      if (!rule.repeated && (seen & rule.slot) !== 0) throw malformed(schema, `${rule.name} twice`);
      seen |= rule.slot;
      this.field(schema, rule, tag & 7, end, depth);
    }
  }

  private field(schema: DescMessage, rule: FieldRule, wire: number, end: number, depth: number): void {
    if (wire === LENGTH && rule.packable) {
      const packedEnd = this.length(schema, end);
      while (this.at < packedEnd) this.number(schema, rule, packedEnd);
      return;
    }
    if (wire !== rule.wire) throw malformed(schema, `${rule.name} in wire type ${String(wire)}`);
    if (wire !== LENGTH) {
      this.number(schema, rule, end);
      return;
    }
    const fieldEnd = this.length(schema, end);
    if (rule.nested === undefined) this.at = fieldEnd;
    else this.message(rule.nested, fieldEnd, depth + 1);
  }

  private number(schema: DescMessage, rule: FieldRule, end: number): void {
    if (rule.wire === VARINT) {
      const value = this.varint(schema, end);
      if (rule.values?.has(value) === false)
        throw new WireFault('unknown-field', `${rule.name} value ${String(value)}`);
      return;
    }
    this.at += rule.wire === BIT64 ? 8 : 4;
    if (this.at > end) throw malformed(schema, 'cut off');
  }

  /** End of the length-delimited run that starts here. */
  private length(schema: DescMessage, end: number): number {
    const length = this.varint(schema, end);
    const runEnd = this.at + length;
    if (runEnd > end) throw malformed(schema, 'a length passes the end');
    return runEnd;
  }

  /** Exact up to 2^53; above that only its size is right, which is all that is asked of it. */
  private varint(schema: DescMessage, end: number): number {
    let value = 0;
    let scale = 1;
    for (let size = 0; size < 10; size++) {
      if (this.at >= end) throw malformed(schema, 'cut off');
      const byte = this.bytes[this.at++] ?? 0;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
      scale *= 128;
    }
    throw malformed(schema, 'a number of more than ten bytes');
  }
}

function malformed(schema: DescMessage, why: string): WireFault {
  return new WireFault('payload-malformed', `${schema.typeName}: ${why}`);
}
