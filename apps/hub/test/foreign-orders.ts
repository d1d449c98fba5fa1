import { handshakePae, type HeaderInit, makeHeader, signPayload, type SigningKey } from '@capstan/identity';
import {
  CommandSchema,
  create,
  Direction,
  encodeEnvelope,
  type Envelope,
  type MessageInitShape,
  newId,
  spawnBody,
  toBase64,
  toBinary,
  toHex,
} from '@capstan/protocol';
import type { TestHub } from './test-hub.js';

export type ForeignBody = NonNullable<MessageInitShape<typeof CommandSchema>['body']>;

/** A spawn that a policy would allow. */
export function soundSpawn(agentId: string = newId()): ForeignBody {
  return spawnBody({
    agentId,
    agentType: 'worker',
    context: { repository: '/srv/repository', workItems: ['Map it.'] },
  });
}

/** A command of quay for harbor, unless `over` says otherwise. */
export function peerCommand(key: SigningKey, body: ForeignBody, over: Partial<HeaderInit> = {}): Envelope {
  const base = { issuer: 'quay', audience: 'harbor', direction: Direction.SPOKE_TO_SPOKE, tenant: 'default' };
  const header = makeHeader({ ...base, hopLimit: 1, ...over });
  return signPayload(key, 'command', toBinary(CommandSchema, create(CommandSchema, { header, body })));
}

/** The same by an operator. */
export function operatorCommand(key: SigningKey, body: ForeignBody, over: Partial<HeaderInit> = {}): Envelope {
  return peerCommand(key, body, { issuer: 'op-alice', direction: Direction.OPERATOR_TO_SPOKE, ...over });
}

/** Pins an operator's key at a hub. */
export function addOperator(hub: TestHub, key: SigningKey, id = 'op-alice', signer = key) {
  const text = (part: string): Uint8Array => new TextEncoder().encode(part);
  const statement = handshakePae('capstan.v1.operator-key', text('hub'), text(id), key.publicKey);
  return hub.post<{ code: string; keyId: string }>('operators', {
    id,
    publicKey: toHex(key.publicKey),
    signature: toBase64(signer.sign(statement)),
  });
}

export function postCommand(hub: TestHub, envelope: Envelope) {
  return hub.post<{ code: string; commandId: string; agentId: string; instance: string; state: string }>('commands', {
    envelope: toBase64(encodeEnvelope(envelope)),
  });
}
