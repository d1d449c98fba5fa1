import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { chainHash, GENESIS } from '@capstan/evidence';
import { Mesh } from '@capstan/localmesh';
import pg from 'pg';
import { proves } from '../support/proves.js';
import { until } from '../support/until.js';

jest.setTimeout(120_000);

const run = promisify(execFile);
const CLI = join(process.cwd(), 'dist/apps/cli/src/main.js');

describe('the audit logs of a hub and an instance', () => {
  const files = mkdtempSync(join(tmpdir(), 'capstan-audit-'));
  let mesh: Mesh;
  let instanceLog: string;
  let made = 0;

  beforeAll(async () => {
    mesh = await Mesh.start({ instances: ['quay'] });
    instanceLog = join(mesh.instance('quay').dir, 'audit', 'spoke.log');
  });
  afterAll(async () => {
    await mesh.stop();
    rmSync(files, { recursive: true, force: true });
  });

  async function capstan(...args: string[]): Promise<{ code: number; answer: Record<string, unknown> }> {
    const env = { ...process.env, CAPSTAN_CONTEXT: mesh.contextFile };
    try {
      const { stdout } = await run(process.execPath, [CLI, ...args, '--json'], { env });
      return { code: 0, answer: JSON.parse(stdout) as Record<string, unknown> };
    } catch (error) {
      const { code, stdout } = error as { code: number; stdout: string };
      return { code, answer: JSON.parse(stdout) as Record<string, unknown> };
    }
  }

  /** Runs an `audit` command that writes a file, and returns the file. */
  async function written(...args: string[]): Promise<string> {
    const file = join(files, `${String((made += 1))}.jsonl`);
    expect(await capstan('audit', ...args, '-o', file)).toMatchObject({ code: 0, answer: { file } });
    return file;
  }

  /** A kill of an agent that never was: entries on both sides, and the proof that kills go on. */
  async function kill(): Promise<void> {
    const answer = await mesh.client.kill(`ghost-${String((made += 1))}`, { instance: 'quay', waitMs: 20_000 });
    expect(answer).toMatchObject({ confirmed: true, outcome: 'tombstoned' });
  }

  const local = (): string[] => ['--local', mesh.instance('quay').dir];
  const hubSize = async () => (await mesh.client.auditHead()).size;
  const keptByHub = async () => (await mesh.client.auditHeads('quay')).heads.at(-1)?.size ?? 0;
  const verified = (file: string, witness?: string) =>
    capstan('verify', file, ...(witness === undefined ? [] : ['--witness', witness]));

  it(
    'are exported with what proves them, and verified offline against what the other side has kept',
    proves(['FED-18', 'CLI-01'], async () => {
      await kill();
      await until('each side keeps a head of the other', async () => {
        return existsSync(join(mesh.instance('quay').dir, 'audit', 'hub-head.jsonl')) && (await keptByHub()) > 0;
      });
      const sides = [
        { log: await written('export'), witness: await written('heads', ...local()), logId: mesh.hub.id },
        { log: await written('export', ...local()), witness: await written('heads', 'quay'), logId: 'quay' },
      ];
      for (const { log, witness, logId } of sides) {
        expect(await verified(log)).toMatchObject({ code: 0, answer: { audit: { ok: true, logId, from: 1 } } });
        const { code, answer } = await verified(log, witness);
        expect({ code, logId: (answer['audit'] as { logId: string }).logId }).toEqual({ code: 0, logId });
        expect((answer['audit'] as { agreed: number }).agreed).toBeGreaterThan(0);
        const bytes = readFileSync(log);
        const at = bytes.lastIndexOf('"kind"');
        bytes[at + 10] = (bytes[at + 10] ?? 0) ^ 1;
        const forged = join(files, `forged-${logId}.jsonl`);
        writeFileSync(forged, bytes);
        const last = String(bytes.toString('latin1').split('\n').length - 2);
        expect(await verified(forged)).toMatchObject({
          code: 1,
          answer: { error: { code: 'audit-chain', fields: [{ field: 'record', message: last }] } },
        });
      }
      const part = await written('export', '--from', '2', '--to', '3');
      expect(await verified(part)).toMatchObject({ code: 0, answer: { audit: { from: 2, to: 3 } } });
      expect(await capstan('audit', 'export', '--to', '999999', '-o', join(files, 'none'))).toMatchObject({ code: 2 });
      const { answer } = await capstan('audit', 'ls', '--limit', '3');
      expect(answer).toMatchObject({ kind: 'capstan.audit', next: 3, entries: [{ sequence: 1 }, {}, {}] });
    }),
  );

  it(
    'are caught where the hub has written its own anew and signed it anew; kills go on',
    proves('FED-18', async () => {
      const witness = await written('heads', ...local());
      await mesh.hub.process.stop();
      await rewriteHub(join(dirname(mesh.contextFile), 'postgres', 'run'));
      await mesh.hub.process.start();
      const size = await hubSize();
      await until('the spoke alarms', () => readFileSync(instanceLog, 'utf8').includes('"audit.conflict"'));
      expect(readFileSync(instanceLog, 'utf8')).toMatch(/"audit.conflict".*"code":"tree-head"/);
      const forged = await written('export', '--to', String(size));
      expect((await verified(forged)).code).toBe(0);
      expect(await verified(forged, witness)).toMatchObject({ code: 1, answer: { error: { code: 'audit-witness' } } });
      await kill();
    }),
  );

  it(
    'are caught where an instance has written its own anew; kills go on, and an admin takes it as it is',
    proves('FED-18', async () => {
      const conflict = async () =>
        (await mesh.client.connections()).find(({ instanceId }) => instanceId === 'quay')?.auditConflict ?? undefined;
      expect(await conflict()).toBeUndefined();
      const witness = await written('heads', 'quay');
      await mesh.instance('quay').spoke.stop();
      rewriteInstance(instanceLog);
      await mesh.instance('quay').spoke.start();
      expect(await until('the hub alarms', conflict)).toMatchObject({ heldSize: await keptByHub() });
      const forged = await written('export', ...local());
      expect((await verified(forged)).code).toBe(0);
      expect(await verified(forged, witness)).toMatchObject({ code: 1, answer: { error: { code: 'audit-witness' } } });
      await kill();
      expect(await capstan('audit', 'accept', 'quay')).toMatchObject({ code: 0 });
      expect(await conflict()).toBeUndefined();
    }),
  );
});

/** What somebody with the hub's database can do: another record 2, and every hash after it. */
async function rewriteHub(socket: string): Promise<void> {
  const client = new pg.Client(`postgresql://capstan@localhost/postgres?host=${encodeURIComponent(socket)}`);
  await client.connect();
  try {
    const { rows } = await client.query<{ sequence: string; record: string }>(
      'SELECT sequence, record FROM audit ORDER BY sequence',
    );
    let hash = GENESIS;
    for (const { sequence, record } of rows) {
      const other = sequence === '2' ? record.replace('"kind"', '"Kind"') : record;
      hash = chainHash(hash, Buffer.from(other));
      await client.query('UPDATE audit SET record = $2, hash = $3 WHERE sequence = $1', [
        sequence,
        other,
        Buffer.from(hash),
      ]);
    }
  } finally {
    await client.end();
  }
}

/** The same for whoever has an instance's directory. */
function rewriteInstance(file: string): void {
  let hash = GENESIS;
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
  const others = lines.map((line, index) => {
    const record = index === 0 ? line.slice(65).replace('"kind"', '"Kind"') : line.slice(65);
    hash = chainHash(hash, Buffer.from(record));
    return `${Buffer.from(hash).toString('hex')} ${record}\n`;
  });
  writeFileSync(file, others.join(''));
}
