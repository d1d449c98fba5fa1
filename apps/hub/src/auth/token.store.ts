import { createHash, timingSafeEqual } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { asc, ne } from 'drizzle-orm';
import { DatabaseService } from '../database/database.service.js';
import { tokens } from '../database/schema.js';

/** A token as the API shows it: never the token itself. */
export interface TokenView {
  /** Whose orders it signs for: the record names it. */
  name: string;
  createdAt: string;
}

interface KnownToken extends TokenView {
  digest: Buffer;
}

/**
 * The tokens that open the API, as SHA-256 digests: in the database, and in memory so that a kill can be ordered while
 * the database is away. A digest without salt is enough for 256 random bits.
 */
@Injectable()
export class TokenStore {
  private known: readonly KnownToken[] = [];
  private reading: Promise<void> = Promise.resolve();

  constructor(private readonly database: DatabaseService) {}

  /** Makes `token` the only one of this name. */
  async put(name: string, token: string): Promise<void> {
    const row = { digest: digestOf(token), createdAt: new Date() };
    await this.database.db
      .insert(tokens)
      .values({ name, ...row })
      .onConflictDoUpdate({ target: tokens.name, set: row, setWhere: ne(tokens.digest, row.digest) });
    await this.reload();
  }

  /** Takes up what somebody has changed on disk. One after the other: what was read last is what was read latest. */
  reload(): Promise<void> {
    const read = this.reading.then(() => this.read());
    this.reading = read.catch(() => undefined);
    return read;
  }

  private async read(): Promise<void> {
    const rows = await this.database.db.select().from(tokens).orderBy(asc(tokens.createdAt), asc(tokens.name));
    this.known = rows.map(({ name, digest, createdAt }) => ({
      name,
      digest: Buffer.from(digest),
      createdAt: createdAt.toISOString(),
    }));
  }

  all(): TokenView[] {
    return this.known.map(({ name, createdAt }) => ({ name, createdAt }));
  }

  /** The name of a token; undefined where it is none. Compares with every token in constant time. */
  nameOf(token: string): string | undefined {
    const given = digestOf(token);
    return this.known.reduce<string | undefined>(
      (found, { name, digest }) => (timingSafeEqual(digest, given) ? name : found),
      undefined,
    );
  }
}

/** What is kept of a token. */
export function digestOf(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
