import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { Mesh } from '@capstan/localmesh';
import { proves } from '../support/proves.js';
import { until } from '../support/until.js';

jest.setTimeout(600_000);

const run = promisify(execFile);
const CLI = join(process.cwd(), 'dist/apps/cli/src/main.js');
const JOIN = join(process.cwd(), 'dist/apps/spoke/src/join.js');

interface Report {
  conforms: boolean;
  outcomes: { id: string; expect: string[]; got?: string; verdict: string }[];
}

/** `capstan conformance`, as a process that prints what it sees. */
class Peer implements Disposable {
  said = '';
  readonly report: Promise<Report>;
  private readonly child: ChildProcess;

  constructor(...args: string[]) {
    const child = spawn(process.execPath, [CLI, 'conformance', ...args, '--json'], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.child = child;
    child.stderr.setEncoding('utf8').on('data', (said: string) => (this.said += said));
    this.report = text(child.stdout).then((json) => {
      if (json === '') throw new Error(this.said);
      return JSON.parse(json) as Report;
    });
    // Awaited by the test, after what it has to do before.
    this.report.catch(() => undefined);
  }

  heard(expression: RegExp): Promise<string> {
    return until(`it says ${String(expression)}`, () => expression.exec(this.said)?.[1]);
  }

  async exitCode(): Promise<number | null> {
    if (this.child.exitCode === null) await once(this.child, 'close');
    return this.child.exitCode;
  }

  [Symbol.dispose](): void {
    this.child.kill();
  }
}

describe('the hostile peer', () => {
  let mesh: Mesh;
  let restarter: Server;
  const directory = mkdtempSync(join(tmpdir(), 'capstan-conformance-'));
  const restartProgram = join(directory, 'restart.mjs');

  beforeAll(async () => {
    mesh = await Mesh.start({ instances: ['quay'] });
    restarter = createServer((_request, response) => {
      // Its supervisor starts it again.
      mesh.instance('quay').spoke.kill('SIGKILL');
      response.end();
    });
    restarter.listen(0, '127.0.0.1');
    await once(restarter, 'listening');
    const url = `http://127.0.0.1:${String((restarter.address() as AddressInfo).port)}/`;
    writeFileSync(restartProgram, `#!${process.execPath}\nawait fetch('${url}');\n`, { mode: 0o755 });
  });
  afterAll(async () => {
    restarter.closeAllConnections();
    restarter.close();
    await mesh.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  const mismatches = ({ outcomes }: Report) => outcomes.filter(({ verdict }) => verdict !== 'held');

  it(
    'gets nothing from a hub',
    proves(['FED-21', 'FED-06', 'FED-07'], async () => {
      const { invite } = await mesh.client.invite({ autoApprove: true });
      using peer = new Peer('--hub', mesh.hub.url, '--invite', invite, '--token-file', mesh.hub.tokenFile);
      const report = await peer.report;
      expect(mismatches(report)).toEqual([]);
      expect(report.conforms).toBe(true);
      expect(await peer.exitCode()).toBe(0);
    }),
  );

  it(
    'says so, and fails, where an implementation does something else',
    proves('FED-21', async () => {
      const elsewhere = createServer((_request, response) => response.end('{}'));
      elsewhere.listen(0, '127.0.0.1');
      await once(elsewhere, 'listening');
      const url = `http://127.0.0.1:${String((elsewhere.address() as AddressInfo).port)}`;
      const { invite } = await mesh.client.invite({ autoApprove: true });
      using peer = new Peer('--hub', url, '--invite', invite, '--only', 'hub.handshake.honest');
      expect(await peer.report).toMatchObject({ conforms: false, outcomes: [{ verdict: 'MISMATCH' }] });
      expect(await peer.exitCode()).toBe(1);
      elsewhere.close();
    }),
  );

  it(
    'gets nothing from a spoke',
    proves(['FED-21', 'FED-06', 'FED-07'], async () => {
      using peer = new Peer('--spoke', '--operator', '--restart-with', restartProgram);
      const [, id = '', keyId = '', publicKey = ''] =
        /pin: (\S+) (\S+) (\S+)/.exec(await peer.heard(/(operator to pin: .*)\n/)) ?? [];
      const invite = await peer.heard(/join: (\S+)/);
      const { dir } = mesh.instance('quay');
      const key = { keyId, owner: id, publicKey, purposes: ['command', 'grant'], epoch: 1 };
      writeFileSync(join(dir, 'operators.json'), JSON.stringify({ version: 1, keys: [key] }), { mode: 0o600 });
      await run(process.execPath, [JOIN, dir, invite, 'quay', '--again']);
      for (const part of ['spoke', 'orchestrator'] as const) mesh.instance('quay')[part].kill('SIGKILL');
      const report = await peer.report;
      expect(mismatches(report)).toEqual([]);
      expect(await peer.exitCode()).toBe(0);
    }),
  );
});
