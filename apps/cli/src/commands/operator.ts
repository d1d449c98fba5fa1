import { readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { handshakePae, keyRecord, KeyRing, loadTrustIfAny, saveTrust, SigningKey } from '@capstan/identity';
import { defaultContextFile, loadContext, saveContext } from '@capstan/localmesh';
import { LocalFault, operatorId, toBase64, toHex } from '@capstan/protocol';
import { openContext } from '../open-context.js';
import { operatorKeyOf, publicFile } from '../operators/operator-key.js';
import { bodyOfRequest, readRequest } from '../operators/request-file.js';
import { signCommand, type SignedCommand } from '../operators/sign-command.js';
import type { Output } from '../output/output.js';
import { table } from '../output/table.js';

const LIFETIME_MS = 300_000;
const OPERATOR_ID = /^op-[a-z0-9-]{1,60}$/;

/** Makes an operator's key: the private half for this user alone, the public half beside it for others to pin. */
export async function initOperator(output: Output, id: string, options: { key?: string }): Promise<void> {
  const name = operatorName(id);
  const file = resolve(options.key ?? `${name}.key`);
  const key = await SigningKey.create(file);
  await saveTrust(publicFile(file), new KeyRing([keyRecord(name, key.publicKey, ['command', 'grant'])]));
  const told = {
    id: name,
    keyFile: file,
    publicFile: publicFile(file),
    keyId: key.keyId,
    publicKey: toHex(key.publicKey),
  };
  output.result('operator', told, [
    `${name} has the key ${key.keyId}; its private half is in ${file} and belongs to nobody else.`,
    `To tell the hub: npx capstan operator add ${file}`,
    `To let an owner believe it: give him ${publicFile(file)}; he types npx capstan operator pin FILE --dir INSTANCE`,
  ]);
}

/** Operators whose commands the hub routes. */
export async function listOperators(output: Output, options: { context?: string }): Promise<void> {
  const { client } = await openContext(options);
  const operators = await client.operators();
  const rows = operators.map(({ id, keyId, revokedAt }) => [
    id,
    keyId,
    revokedAt === null ? '' : `revoked ${revokedAt}`,
  ]);
  output.result('operators', { operators }, table([['OPERATOR', 'KEY', ''], ...rows]));
}

/** Tells the hub of an operator, with proof that the key is held. @throws HubProblem */
export async function addOperator(
  output: Output,
  keyFile: string,
  options: { context?: string; as?: string; name?: string },
): Promise<void> {
  const { client, context } = await openContext(options);
  const signer = await operatorKeyOf(
    { sign: keyFile, ...(options.as === undefined ? {} : { as: options.as }) },
    context,
  );
  if (signer === undefined) throw new LocalFault('usage', 'A key file is needed.');
  const { id, key } = signer;
  const text = (part: string): Uint8Array => new TextEncoder().encode(part);
  const statement = handshakePae('capstan.v1.operator-key', text(context.hubId), text(id), key.publicKey);
  const operator = await client.addOperator({
    id,
    publicKey: toHex(key.publicKey),
    signature: toBase64(key.sign(statement)),
    ...(options.name === undefined ? {} : { displayName: options.name }),
  });
  output.result('operator', { operator }, [`The hub routes what ${id} signs.`]);
}

/** The hub routes nothing of an operator from now on. */
export async function revokeOperator(output: Output, id: string, options: { context?: string }): Promise<void> {
  const { client } = await openContext(options);
  const operator = await client.revokeOperator(id);
  output.result('operator', { operator }, [
    `The hub routes nothing of ${id} any longer. Owners who have pinned the key take it out of operators.json themselves.`,
  ]);
}

/** The owner of an instance on this machine believes an operator from now on. */
export async function pinOperator(output: Output, file: string, { dir }: { dir: string }): Promise<void> {
  const place = join(resolve(dir), 'operators.json');
  const [known, added] = await Promise.all([loadTrustIfAny(place), loadTrustIfAny(file)]);
  const keys = added.records().filter(({ purposes }) => purposes.includes('command'));
  const owners = keys.map(({ owner }) => operatorName(owner));
  if (keys.length === 0) throw new LocalFault('file-missing', `${file} holds no operator's public key.`);
  for (const key of keys) known.add(key);
  await saveTrust(place, known);
  output.result('pinned', { operators: owners, file: place }, [
    `${owners.join(', ')} may order what ${join(resolve(dir), 'policy.yaml')} allows.`,
    'To take nothing but operators’ spawns, write there: demandOperatorSignature: [spawn]',
  ]);
}

/** Signs with this key from now on wherever `--sign` names none. */
export async function useOperator(output: Output, keyFile: string, options: { context?: string }): Promise<void> {
  const file = options.context ?? defaultContextFile();
  const context = await loadContext(file);
  const operator = { keyFile: resolve(keyFile) };
  const signer = await operatorKeyOf({ sign: operator.keyFile }, context);
  await saveContext(file, { ...context, operator });
  output.result('operator', { id: signer?.id, ...operator }, [`--sign alone now means ${operator.keyFile}.`]);
}

/** Signs a request from a file without sending it: on a machine that has the key and no network. */
export async function signRequest(
  output: Output,
  file: string,
  options: { key: string; as?: string; out?: string; expires?: number },
): Promise<void> {
  const signer = await operatorKeyOf(
    { sign: options.key, ...(options.as === undefined ? {} : { as: options.as }) },
    {},
  );
  if (signer === undefined) throw new LocalFault('usage', 'A key file is needed.');
  const { instance, tenant = 'default', ...request } = await readRequest(file);
  const lifetimeMs = options.expires === undefined ? LIFETIME_MS : options.expires * 1000;
  const signed = signCommand(signer, { instance, tenant, body: bodyOfRequest(request), lifetimeMs });
  const content = { version: 1, kind: 'capstan.signed-command', ...signed };
  if (options.out !== undefined) await writeFile(options.out, `${JSON.stringify(content, null, 2)}\n`);
  output.result('signed-command', { ...signed, by: signer.id, savedTo: options.out ?? null }, [
    options.out === undefined
      ? signed.envelope
      : `written to ${options.out}; send it with: npx capstan operator send ${options.out}`,
  ]);
}

/** Sends what was signed elsewhere. @throws HubProblem */
export async function sendSigned(output: Output, file: string, options: { context?: string }): Promise<void> {
  const { client } = await openContext(options);
  const { envelope } = JSON.parse(await readFile(file, 'utf8')) as Partial<SignedCommand>;
  if (typeof envelope !== 'string') throw new LocalFault('file-missing', `${file} holds no signed command.`);
  const accepted = await client.route(envelope);
  output.result('sent', { ...accepted }, [`command ${accepted.commandId} for ${accepted.instance} is on its way`]);
}

function operatorName(id: string): string {
  if (OPERATOR_ID.test(id)) return operatorId(id);
  throw new LocalFault('usage', `"${id}" is no name of an operator: it begins with op-, then a-z, 0-9 and -.`);
}
