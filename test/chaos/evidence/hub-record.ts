import { chainHash, GENESIS } from '@capstan/evidence';
import { Client } from 'pg';
import type { CommandRow, History } from '../history/history.ts';

type HubRecord = Pick<History, 'commands' | 'receipts' | 'agents' | 'chainFault'>;

/** Reads what the hub has on disk, from its database. */
export class HubDatabase implements AsyncDisposable {
  private readonly client: Client;

  private constructor(client: Client) {
    this.client = client;
    // Its server is one of the parts that are killed.
    client.on('error', () => undefined);
  }

  static async connect(url: string): Promise<HubDatabase> {
    const database = new HubDatabase(new Client({ connectionString: url, query_timeout: 5000 }));
    await database.client.connect();
    return database;
  }

  /** Every command but probes, which the hub orders by itself all the time. */
  async commands(): Promise<CommandRow[]> {
    const { rows } = await this.client.query<CommandRow>(
      `SELECT id, kind, instance, agent_id AS "agentId", state, settled_at IS NOT NULL AS "isSettled",
         refusal_code AS refusal, expires_at < now() AS "hasExpired",
         (extract(epoch FROM expires_at) * 1000)::float8 AS "expiresAt" FROM commands WHERE kind <> 'kill.probe' ORDER BY created_at`,
    );
    return rows;
  }

  async read(): Promise<HubRecord> {
    const receipts = await this.receipts();
    const agents = await this.agents();
    const chainFault = await this.chainFault();
    const commands = await this.commands();
    return { commands, receipts, agents, ...(chainFault === undefined ? {} : { chainFault }) };
  }

  async receipts(): Promise<History['receipts']> {
    const { rows } = await this.client.query<History['receipts'][number]>(
      `SELECT command_id AS "commandId", agent_id AS "agentId", kind FROM receipts ORDER BY sequence`,
    );
    return rows;
  }

  async agents(): Promise<History['agents']> {
    const { rows } = await this.client.query<{ agentId: string; state: string }>(
      `SELECT agent_id AS "agentId", snapshot->>'state' AS state FROM agents WHERE snapshot IS NOT NULL`,
    );
    return rows;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client.end();
  }

  private async chainFault(): Promise<string | undefined> {
    const { rows } = await this.client.query<{ sequence: string; record: string; hash: Buffer }>(
      'SELECT sequence, record, hash FROM audit ORDER BY sequence',
    );
    let previous = GENESIS;
    for (const [index, { sequence, record, hash }] of rows.entries()) {
      if (Number(sequence) !== index + 1) return `record ${String(index + 1)} is missing`;
      previous = chainHash(previous, Buffer.from(record));
      if (!hash.equals(previous)) return `record ${sequence} does not follow from the one before it`;
    }
    return undefined;
  }
}
