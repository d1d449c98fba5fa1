import { createHash, timingSafeEqual } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { asc, ne } from 'drizzle-orm';
import { DatabaseService } from '../database/database.service.js';
import { tokens } from '../database/schema.js';
import { ADMIN } from './admin-token.js';

/** A token as the API shows it: never the token itself. */
export interface TokenView {
  /** Whose orders it signs for: the record names it. */
  name: string;
  createdAt: string;
  /** The tokens that it stems from, its maker first; empty for the one of the hub's file. */
  madeBy: readonly string[];
}

interface KnownToken extends TokenView {
  digest: Buffer;
  isRemoved: boolean;
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
    this.known = rows.map(({ name, digest, createdAt, madeBy, removedAt }) => ({
      name,
      digest: Buffer.from(digest),
      createdAt: createdAt.toISOString(),
      madeBy,
      isRemoved: removedAt !== null,
    }));
  }

  all(): TokenView[] {
    const held = this.known.filter(({ isRemoved }) => !isRemoved);
    return held.map(({ name, createdAt, madeBy }) => ({ name, createdAt, madeBy }));
  }

  /** What a token that `maker` makes stems from. */
  lineOf(maker: string): string[] {
    return [maker, ...(this.find(maker)?.madeBy ?? [])];
  }

  /**
   * Whether one person may stand behind both tokens. Whoever makes a token holds it too: so all that stem from one token
   * are one person's, and the holder of the hub's file, who introduces people by making each of them a first one, is nobody
   * else beside any of them. Names whose origin is not known are not told apart.
   */
  areOfOnePerson(one: string, other: string): boolean {
    const [first, second] = [this.personOf(one), this.personOf(other)];
    return first === undefined || second === undefined || first === second;
  }

  /** The token by which the hub's file has introduced somebody; undefined for the file's own. */
  private personOf(name: string): string | undefined {
    const line = this.lineOf(name);
    return line.length > 1 && line.at(-1) === ADMIN ? line.at(-2) : undefined;
  }

  private find(name: string): KnownToken | undefined {
    return this.known.find((token) => token.name === name);
  }

  /** The name of a token; undefined where it is none. Compares with every token in constant time. */
  nameOf(token: string): string | undefined {
    const given = digestOf(token);
    return this.known.reduce<string | undefined>(
      (found, { name, digest, isRemoved }) => (timingSafeEqual(digest, given) && !isRemoved ? name : found),
      undefined,
    );
  }
}

/** What is kept of a token. */
export function digestOf(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
