import { createHash, timingSafeEqual } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { DatabaseService } from '../database/database.service.js';
import { ne } from 'drizzle-orm';
import { tokens } from '../database/schema.js';

/**
 * The tokens that open the API, as SHA-256 digests: in the database, and in memory so that a kill can be ordered while
 * the database is away. A digest without salt is enough for 256 random bits.
 */
@Injectable()
export class TokenStore {
  private digests: readonly Buffer[] = [];

  constructor(private readonly database: DatabaseService) {}

  /** Makes `token` the only one of this name. */
  async put(name: string, token: string): Promise<void> {
    const row = { digest: digestOf(token), createdAt: new Date() };
    await this.database.db
      .insert(tokens)
      .values({ name, ...row })
      .onConflictDoUpdate({ target: tokens.name, set: row, setWhere: ne(tokens.digest, row.digest) });
    const all = await this.database.db.select({ digest: tokens.digest }).from(tokens);
    this.digests = all.map(({ digest }) => Buffer.from(digest));
  }

  /** Compares with every token in constant time. */
  isValid(token: string): boolean {
    const given = digestOf(token);
    return this.digests.reduce((found, digest) => timingSafeEqual(digest, given) || found, false);
  }
}

function digestOf(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
