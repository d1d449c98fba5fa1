import { Injectable, type OnModuleInit } from '@nestjs/common';
import { CommandBook } from '../commands/command.book.js';
import { DroppedCommands } from '../commands/dropped-commands.js';
import { ConnectionMoves } from '../connections/connection-moves.js';
import { endOf } from '../connections/link-closer.js';
import { OperatorStore } from './operator.store.js';

/** Drops what waits of an origin whose key was revoked, or whose connection has ended. */
@Injectable()
export class RoutedDrops implements OnModuleInit {
  constructor(
    private readonly moves: ConnectionMoves,
    private readonly operators: OperatorStore,
    private readonly book: CommandBook,
    private readonly dropped: DroppedCommands,
  ) {}

  onModuleInit(): void {
    this.operators.onRevoked(({ id }) => {
      this.dropOf(id);
    });
    this.moves.onMoved(({ instanceId, state }, _from, isElsewhere) => {
      if (!isElsewhere && endOf(state) !== undefined) this.dropOf(instanceId);
    });
  }

  private dropOf(origin: string): void {
    for (const record of this.book.allOpen()) {
      if (record.issuer === origin) this.dropped.drop(record, 'key-revoked');
    }
  }
}
