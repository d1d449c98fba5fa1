import { Injectable } from '@nestjs/common';
import { eq } from 'drizzle-orm';
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

  /** A new token: the only time that it is told. @throws WireFault `name-taken` */
  async make(name: string, by: string): Promise<TokenView & { token: string }> {
    const token = makeToken();
    const createdAt = new Date();
    const isMade = await this.writer.transaction(async (client) => {
      const row = { name, digest: digestOf(token), createdAt };
      const { rowCount } = await drizzle(client).insert(tokens).values(row).onConflictDoNothing();
      return { result: rowCount === 1, audit: rowCount === 1 ? [entry('token.made', name, by)] : [] };
    });
    if (!isMade) throw new WireFault('name-taken', `token ${name}`);
    await this.store.reload();
    return { name, createdAt: createdAt.toISOString(), token };
  }

  /** It opens nothing from now on. @throws WireFault `not-found`, `forbidden` for the one that the hub's own file holds */
  async remove(name: string, by: string): Promise<void> {
    if (name === ADMIN) throw new WireFault('forbidden', 'the token of the file; removing the file changes it');
    await this.writer.transaction(async (client) => {
      const { rowCount } = await drizzle(client).delete(tokens).where(eq(tokens.name, name));
      if (rowCount !== 1) throw new WireFault('not-found', `token ${name}`);
      return { result: undefined, audit: [entry('token.removed', name, by)] };
    });
    await this.store.reload();
  }
}

function entry(kind: string, name: string, by: string) {
  return { kind, subject: name, atMs: Date.now(), detail: { by } };
}
