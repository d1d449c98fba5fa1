/**
 * A protobuf codec for hostile use: it writes what the files in proto/ say, and, field by field, what they forbid.
 * Source: https://protobuf.dev/programming-guides/encoding/
 */
import { ENUM_VALUES, type Field, isEnum, MESSAGES } from './proto-files.ts';

export type Value = string | number | bigint | boolean | Uint8Array | Message | readonly Value[] | undefined;
/** Fields by the names of the .proto files; numbers read are bigint. */
export interface Message {
  readonly [field: string]: Value;
}

export const VARINT = 0;
export const BYTES = 2;
const UTF8 = new TextEncoder();

export function utf8(text: string): Uint8Array {
  return UTF8.encode(text);
}

export function join(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

/** Bytes of a message. Zero, empty and undefined are left out, except in a oneof. */
export function encode(type: string, message: Message): Uint8Array {
  const fields = fieldsOf(type);
  const known = new Set(fields.map(({ name }) => name));
  const stranger = Object.keys(message).find((name) => !known.has(name));
  if (stranger !== undefined) throw new Error(`${type} has no field ${stranger}`);
  return join(...fields.flatMap((field) => encodeField(field, message[field.name])));
}

function encodeField(field: Field, value: Value): Uint8Array[] {
  if (value === undefined) return [];
  if (field.isRepeated) {
    if (!Array.isArray(value)) throw new Error(`${field.name} is repeated`);
    const values = value as readonly Value[];
    if (values.length === 0) return [];
    if (isVarint(field)) return [rawBytes(field.number, join(...values.map((each) => varint(number(each)))))];
    return values.map((each) => encodeOne(field, each));
  }
  return !field.isOneof && isDefault(value) ? [] : [encodeOne(field, value)];
}

function encodeOne(field: Field, value: Value): Uint8Array {
  if (isVarint(field)) return rawVarint(field.number, number(value));
  if (typeof value === 'string') return rawBytes(field.number, utf8(value));
  if (value instanceof Uint8Array) return rawBytes(field.number, value);
  return rawBytes(field.number, encode(field.type, value as Message));
}

/** A field in the wire type of bytes, texts and messages, whatever the files say of its number. */
export function rawBytes(fieldNumber: number, bytes: Uint8Array): Uint8Array {
  return join(varint((fieldNumber << 3) | BYTES), varint(bytes.length), bytes);
}

/** A field in the wire type of numbers. */
export function rawVarint(fieldNumber: number, value: number | bigint): Uint8Array {
  return join(varint((fieldNumber << 3) | VARINT), varint(value));
}

export function varint(value: number | bigint): Uint8Array {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  while (rest > 127n) {
    bytes.push(Number(rest & 127n) | 128);
    rest >>= 7n;
  }
  return Uint8Array.from([...bytes, Number(rest)]);
}

/** Reads strictly: an unknown field or a wrong wire type is the implementation's fault. Absent fields are absent. */
export function decode(type: string, bytes: Uint8Array): Message {
  const fields = new Map(fieldsOf(type).map((field) => [field.number, field]));
  const message: Record<string, Value> = {};
  const reader = { bytes, at: 0 };
  while (reader.at < bytes.length) {
    const tag = Number(readVarint(reader));
    const field = fields.get(tag >> 3);
    if (field === undefined) throw new Error(`${type} came with the unknown field ${String(tag >> 3)}`);
    const value = readValue(type, field, tag & 7, reader);
    if (!field.isRepeated) message[field.name] = value;
    else message[field.name] = [...((message[field.name] as Value[] | undefined) ?? []), ...[value].flat()];
  }
  return message;
}

interface Reader {
  readonly bytes: Uint8Array;
  at: number;
}

function readValue(type: string, field: Field, wire: number, reader: Reader): Value | Value[] {
  if (isVarint(field) && wire === VARINT) return readVarint(reader);
  if (wire !== BYTES) throw new Error(`${type}.${field.name} came in wire type ${String(wire)}`);
  const length = Number(readVarint(reader));
  const part = reader.bytes.subarray(reader.at, reader.at + length);
  if (part.length !== length) throw new Error(`${type}.${field.name} is cut off`);
  reader.at += length;
  if (isVarint(field)) return packed(part);
  if (field.type === 'string') return new TextDecoder('utf-8', { fatal: true }).decode(part);
  return field.type === 'bytes' ? new Uint8Array(part) : decode(field.type, part);
}

function packed(bytes: Uint8Array): bigint[] {
  const reader = { bytes, at: 0 };
  const values: bigint[] = [];
  while (reader.at < bytes.length) values.push(readVarint(reader));
  return values;
}

function readVarint(reader: Reader): bigint {
  let value = 0n;
  for (let shift = 0n; shift < 70n; shift += 7n) {
    const byte = reader.bytes[reader.at++];
    if (byte === undefined) throw new Error('a number is cut off');
    value |= BigInt(byte & 127) << shift;
    if (byte < 128) return value;
  }
  throw new Error('a number has more than ten bytes');
}

function fieldsOf(type: string): Field[] {
  const fields = MESSAGES.get(type);
  if (fields === undefined) throw new Error(`proto/ has no message ${type}`);
  return fields;
}

function isVarint({ type }: Field): boolean {
  return ['uint32', 'uint64', 'int64', 'bool'].includes(type) || isEnum(type);
}

function isDefault(value: Value): boolean {
  if (value instanceof Uint8Array) return value.length === 0;
  return value === '' || value === 0 || value === 0n || value === false;
}

/** The number of a number, a boolean, or an enum's name. */
function number(value: Value): number | bigint {
  if (typeof value === 'number' || typeof value === 'bigint') return value;
  if (typeof value === 'boolean') return value ? 1 : 0;
  const named = typeof value === 'string' ? ENUM_VALUES.get(value) : undefined;
  if (named === undefined) throw new Error(`no number: ${JSON.stringify(value)}`);
  return named;
}

export function message(of: Message, field: string): Message {
  const value = of[field];
  return typeof value === 'object' && !(value instanceof Uint8Array) && !Array.isArray(value) ? (value as Message) : {};
}

export function messages(of: Message, field: string): Message[] {
  const value = of[field];
  return Array.isArray(value) ? (value as Message[]) : [];
}

export function text(of: Message, field: string): string {
  const value = of[field];
  return typeof value === 'string' ? value : '';
}

export function bytes(of: Message, field: string): Uint8Array {
  const value = of[field];
  return value instanceof Uint8Array ? value : new Uint8Array();
}

export function int(of: Message, field: string): bigint {
  const value = of[field];
  return typeof value === 'bigint' ? value : 0n;
}

export function hex(of: Uint8Array): string {
  return Buffer.from(of).toString('hex');
}
