import { Injectable } from '@nestjs/common';
import { envelopeDigest, makeHeader, signPayload } from '@capstan/identity';
import { type Command, CommandSchema, create, Direction, type MessageInitShape, toBinary } from '@capstan/protocol';
import { HubIdentity } from '../identity/hub-identity.js';
import type { CommandKind, CommandRecord } from './command-record.js';

type CommandBody = Exclude<NonNullable<MessageInitShape<typeof CommandSchema>['body']>, { case?: undefined }>;

/** What is to be ordered, by whom and of whom. */
export interface Order {
  /** UUIDv7; whoever waits for the answer listens for it before the order is given. */
  id: string;
  instance: string;
  agentId: string;
  body: CommandBody;
  tenant: string;
  /** The person for whom the hub issues it. */
  onBehalfOf: string;
  /** Milliseconds until no receiver takes it any longer. */
  lifetimeMs: number;
}

/** How the record names what a command orders. */
export const KINDS: Record<NonNullable<Command['body']['case']>, CommandKind> = {
  spawn: 'agent.spawn',
  status: 'agent.status',
  kill: 'agent.kill',
  killAll: 'agent.kill-all',
  rearm: 'agent.rearm',
  probe: 'kill.probe',
};

/** Makes signed commands. */
@Injectable()
export class CommandFactory {
  constructor(private readonly identity: HubIdentity) {}

  make(order: Order): CommandRecord {
    const nowMs = Date.now();
    const { id, instance, agentId, body, tenant, onBehalfOf, lifetimeMs } = order;
    const { key, epoch: keyEpoch } = this.identity.signerFor(instance);
    const header = makeHeader({
      id,
      issuer: this.identity.hubId,
      audience: instance,
      direction: Direction.HUB_TO_SPOKE,
      tenant,
      onBehalfOf,
      lifetimeMs,
      keyEpoch,
      nowMs,
    });
    const payload = toBinary(CommandSchema, create(CommandSchema, { header, body }));
    const envelope = signPayload(key, 'command', payload);
    return {
      id,
      kind: KINDS[body.case],
      instance,
      agentId,
      issuer: null,
      envelope,
      admission: null,
      digest: Buffer.from(envelopeDigest(envelope)).toString('hex'),
      createdAt: new Date(nowMs),
      expiresAt: new Date(nowMs + lifetimeMs),
      state: 'PENDING',
      deliveredAt: null,
      settledAt: null,
      refusal: null,
    };
  }
}
