import { Injectable } from '@nestjs/common';
import { checkKeyEpoch, openEnvelope } from '@capstan/identity';
import { type ConnectionWish, decodeStrict, Direction, type Envelope, EventSchema, WireFault } from '@capstan/protocol';
import { HubIdentity } from '../identity/hub-identity.js';
import type { Connection } from './connection.js';
import { ConnectionMoves } from './connection-moves.js';
import type { ConnectionState } from './connection-state.js';
import { ConnectionStore } from './connection.store.js';

/** What an owner may wish at all; which of them holds where the connection is now, the table says. */
const WISHES: readonly ConnectionState[] = ['ACTIVE', 'SUSPENDED', 'DISCONNECTED'];
/** A JavaScript Date holds no more. */
const MOST_MS = 8_640_000_000_000_000n;

/** Takes what owners wish for their connections: as a signed event over the link, or by HTTP where there is none yet. */
@Injectable()
export class ConnectionWishes {
  constructor(
    private readonly identity: HubIdentity,
    private readonly connections: ConnectionStore,
    private readonly moves: ConnectionMoves,
  ) {}

  /**
   * A wish whose signature was verified. One that is no newer than the last is a repetition and changes nothing.
   *
   * @throws WireFault `payload-malformed`, `instance-unknown`, `connection-transition`
   */
  take(instance: string, { state, reason }: ConnectionWish, signedAtMs: bigint): Promise<Connection> {
    const { id } = this.connections.ofInstance(instance);
    const to = WISHES.find((wish) => wish === state);
    if (to === undefined) throw new WireFault('payload-malformed', 'no state that an owner may wish');
    if (signedAtMs <= 0n || signedAtMs > MOST_MS) throw new WireFault('payload-malformed', 'time of the wish');
    const wishedAt = new Date(Number(signedAtMs));
    return this.moves.move(id, { to, mover: 'owner', by: instance, wishedAt, ...(reason === '' ? {} : { reason }) });
  }

  /**
   * The same for an envelope of which nothing is verified yet.
   *
   * @throws WireFault also as `openEnvelope`, `key-unknown` for an instance that nobody knows
   */
  async takeEnvelope(envelope: Envelope): Promise<Connection> {
    // Its issuer is read before its key can verify it, and used for nothing but to find that key.
    const claimed = decodeStrict(EventSchema, envelope.payload).header?.issuer ?? '';
    const connection = this.connections.find(claimed);
    if (connection === undefined) throw new WireFault('key-unknown', 'no such instance');
    const { payload, header, key } = openEnvelope(envelope, EventSchema, {
      kind: 'event',
      purpose: 'receipt',
      keys: connection.keys,
      audience: this.identity.hubId,
      direction: Direction.SPOKE_TO_HUB,
      nowMs: Date.now(),
      // It may have waited for its hub; wishes are put in order by their own times.
      expiry: 'exempt',
    });
    checkKeyEpoch(key, header);
    if (payload.body.case !== 'connectionWish') throw new WireFault('payload-malformed', 'no wish');
    return this.take(header.issuer, payload.body.value, header.issuedAtMs);
  }
}
