import { envelopeDigest, makeHeader, type RoutedBody, signPayload } from '@capstan/identity';
import {
  CommandSchema,
  create,
  Direction,
  encodeEnvelope,
  type Envelope,
  newId,
  toBase64,
  toBinary,
  toHex,
} from '@capstan/protocol';
import type { OperatorKey } from './operator-key.js';

export interface CommandToSign {
  instance: string;
  tenant: string;
  body: RoutedBody;
  /** Milliseconds until no receiver takes it any longer; a kill is exempt from it. */
  lifetimeMs: number;
  /** Grants under which it is given, root first. */
  grants?: readonly Envelope[];
}

/** A command that bears an operator's own signature; whoever has it can send it, nobody can change it. */
export interface SignedCommand {
  commandId: string;
  instance: string;
  /** SHA-256 of the PAE, hex. */
  digest: string;
  /** Base64. */
  envelope: string;
}

/** Signs a command as an operator, to be routed by one hub. @throws WireFault `id-malformed` */
export function signCommand({ id, key }: OperatorKey, command: CommandToSign): SignedCommand {
  const { instance, tenant, body, lifetimeMs, grants = [] } = command;
  const direction = Direction.OPERATOR_TO_SPOKE;
  const commandId = newId();
  const header = makeHeader({
    id: commandId,
    issuer: id,
    audience: instance,
    direction,
    tenant,
    lifetimeMs,
    hopLimit: 1,
    grantChain: grants.map((grant) => encodeEnvelope(grant)),
  });
  const envelope = signPayload(key, 'command', toBinary(CommandSchema, create(CommandSchema, { header, body })));
  return {
    commandId,
    instance,
    digest: toHex(envelopeDigest(envelope)),
    envelope: toBase64(encodeEnvelope(envelope)),
  };
}
