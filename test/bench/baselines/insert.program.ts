/**
 * Inserts rows into PostgreSQL one by one, as the hub must for a command that nobody else's insert can share, and says how much
 * CPU of this process each took. Arguments: the database's URL, rows, concurrency.
 */
import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { serveParent } from '../child.ts';
import { drive } from '../load.ts';

const ROW_BYTES = 400;
/** As warm as a hub is when it is measured. */
const WARM_UP = 10_000;

const [url = '', rows = '1000', concurrency = '32'] = process.argv.slice(2);
const pool = new pg.Pool({ connectionString: url, max: 8 });
const table = `bench_${randomUUID().replaceAll('-', '')}`;
await pool.query(
  `create table ${table} (id uuid primary key, made timestamptz not null default now(), envelope bytea)`,
);
const envelope = Buffer.alloc(ROW_BYTES, 7);
const insert = () =>
  pool.query({
    name: 'insert',
    text: `insert into ${table} (id, envelope) values ($1, $2)`,
    values: [randomUUID(), envelope],
  });

await drive(WARM_UP, Number(concurrency), insert);
const before = process.cpuUsage();
await drive(Number(rows), Number(concurrency), insert);
const { user, system } = process.cpuUsage(before);
await pool.query(`drop table ${table}`);
await serveParent({ cpuMsPerInsert: (user + system) / 1000 / Number(rows) });
await pool.end();
