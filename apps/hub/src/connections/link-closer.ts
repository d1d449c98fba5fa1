import { Injectable, type OnModuleInit } from '@nestjs/common';
import type { Link } from '@capstan/link';
import { type FaultCode, faultSentence } from '@capstan/protocol';
import type { Connection } from './connection.js';
import { ConnectionMoves } from './connection-moves.js';
import type { ConnectionState } from './connection-state.js';
import { ConnectionStore } from './connection.store.js';
import { LinkRegistry } from './link.registry.js';

/** Why no link is held, and no command kept, in a state; undefined where the instance may be here. */
export function endOf(state: ConnectionState): FaultCode | undefined {
  if (state === 'REVOKED') return 'key-revoked';
  return state === 'DISCONNECTED' ? 'connection-not-active' : undefined;
}

/** Cuts the link of an instance that may no longer hold one, in the turn in which that is known. */
@Injectable()
export class LinkCloser implements OnModuleInit {
  constructor(
    private readonly moves: ConnectionMoves,
    private readonly connections: ConnectionStore,
    private readonly links: LinkRegistry,
  ) {}

  onModuleInit(): void {
    this.moves.onMoved((connection) => this.moved(connection));
  }

  /** For a link that has just come up: true, and cut, where its connection ended during the handshake. */
  refuses(link: Link): boolean {
    const connection = this.connections.find(link.peerId);
    const key = connection?.keys.get(link.peerKeyId);
    const code = connection === undefined || key === undefined ? 'key-unknown' : endOf(connection.state);
    if (code !== undefined) void link.close(code, faultSentence(code));
    return code !== undefined;
  }

  private moved({ id, instanceId, state }: Connection): void {
    const code = endOf(state);
    if (code === undefined || this.connections.find(instanceId)?.id !== id) return;
    void this.links.of(instanceId)?.close(code, faultSentence(code));
  }
}
