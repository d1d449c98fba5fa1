import { Injectable } from '@nestjs/common';
import { and, eq, isNull } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/node-postgres';
import { WireFault } from '@capstan/protocol';
import { RecordWriter } from '../database/record-writer.js';
import { tokens } from '../database/schema.js';
import { ADMIN, makeToken } from './admin-token.js';
import { digestOf, TokenStore, type TokenView } from './token.store.js';

/** Gives admins tokens of their own, so that the record says who ordered what, and takes them back. */
@Injectable()
export class TokenService {
  constructor(
    private readonly store: TokenStore,
    private readonly writer: RecordWriter,
  ) {}

  all(): TokenView[] {
    return this.store.all();
  }

  /** A new token: the only time that it is told. @throws WireFault `name-taken`, also by one that was taken back */
  async make(name: string, by: string): Promise<TokenView & { token: string }> {
    const token = makeToken();
    const createdAt = new Date();
    const madeBy = this.store.lineOf(by);
    const isMade = await this.writer.transaction(async (client) => {
      const row = { name, digest: digestOf(token), createdAt, madeBy };
      const { rowCount } = await drizzle(client).insert(tokens).values(row).onConflictDoNothing();
      return { result: rowCount === 1, audit: rowCount === 1 ? [entry('token.made', name, by)] : [] };
    });
    if (!isMade) throw new WireFault('name-taken', `token ${name}`);
    await this.store.reload();
    return { name, createdAt: createdAt.toISOString(), madeBy, token };
  }

  /** It opens nothing from now on. @throws WireFault `not-found`, `forbidden` for the one that the hub's own file holds */
  async remove(name: string, by: string): Promise<void> {
    if (name === ADMIN) throw new WireFault('forbidden', 'the token of the file; removing the file changes it');
    await this.writer.transaction(async (client) => {
      const isHeld = and(eq(tokens.name, name), isNull(tokens.removedAt));
      const { rowCount } = await drizzle(client).update(tokens).set({ removedAt: new Date() }).where(isHeld);
      if (rowCount !== 1) throw new WireFault('not-found', `token ${name}`);
      return { result: undefined, audit: [entry('token.removed', name, by)] };
    });
    await this.store.reload();
  }
}

function entry(kind: string, name: string, by: string) {
  return { kind, subject: name, atMs: Date.now(), detail: { by } };
}
