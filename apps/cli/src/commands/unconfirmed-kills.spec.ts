import { createServer, type Server } from 'node:http';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { envelopeDigest, saveTrust } from '@capstan/identity';
import { encodeEnvelope, KillScope, toBase64 } from '@capstan/protocol';
import { command, killAllStatement, receipt, trust } from '../../../../proto/vectors/world.js';
import { proves } from '../../../../test/support/proves.js';
import { ExitCode } from '../exit-codes.js';
import { runCli } from '../run-cli.js';

let directory: string;
let server: Server;
/** What the hub says to whatever it is asked. */
let said: object[];

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'capstan-cli-'));
  server = createServer((_, response) => {
    response.writeHead(200).end(said.map((each) => `${JSON.stringify(each)}\n`).join(''));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const hubUrl = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`;
  const [tokenFile, trustFile] = [join(directory, 'token'), join(directory, 'trust.json')];
  writeFileSync(tokenFile, 'secret\n');
  await saveTrust(trustFile, trust());
  writeFileSync(
    join(directory, 'context.json'),
    JSON.stringify({ version: 1, hubId: 'hub', hubUrl, tokenFile, trustFile }),
  );
});
afterEach(() => {
  server.close();
  server.closeAllConnections();
  rmSync(directory, { recursive: true, force: true });
});

async function capstan(...args: string[]): Promise<{ code: number; out: string }> {
  let out = '';
  const streams = { out: { write: (part: string) => (out += part) }, err: { write: () => undefined } };
  const code = await runCli([...args, '--context', join(directory, 'context.json')], streams);
  return { code, out };
}

const ENDS = '2026-11-21T13:32:08.969Z';

describe('a kill that nobody has confirmed', () => {
  const unconfirmed = { commandId: 'c', outcome: 'unconfirmed', confirmed: false, leaseEndsAt: ENDS };

  it('is told with why its instance has refused it, the code, and when the lease ends', async () => {
    said = [{ ...unconfirmed, refusal: { code: 'policy-peer', sentence: 'whatever the hub says' } }];
    const { code, out } = await capstan('agents', 'kill', 'agent-1');
    expect(code).toBe(ExitCode.timeout);
    expect(out).toContain('the order stands');
    expect(out).toContain('its instance has refused it: Whoever has signed this may not order it here. (policy-peer)');
    expect(out).toContain(`Its lease ends by ${ENDS}.`);
  });

  it('tells programs the same', async () => {
    const refusal = { code: 'policy-peer', sentence: 'No.' };
    said = [{ ...unconfirmed, refusal }];
    const { out } = await capstan('agents', 'kill', 'agent-1', '--json');
    expect(JSON.parse(out)).toMatchObject({ confirmed: false, refusal, leaseEndsAt: ENDS });
  });

  it('says where no lease ends the agent, and prints a code of another version for what it is', async () => {
    said = [{ ...unconfirmed, leaseEndsAt: null, refusal: { code: 'from-the-future', sentence: 'No.' } }];
    const { out } = await capstan('agents', 'kill', 'agent-1');
    expect(out).toContain('(from-the-future)');
    expect(out).toContain('No lease ends it.');
  });
});

describe('a kill-all', () => {
  const line = { instance: 'quay', commandId: 'c', confirmed: false, agents: [], leasesEndAt: ENDS, ms: 7 };
  const totals = { totals: { instances: 1, confirmed: 0, unconfirmed: 1, agents: {} } };
  const told = async (more: object): Promise<string> => {
    said = [{ ...line, ...more }, totals];
    const { code, out } = await capstan('agents', 'kill-all', '--mesh');
    expect(code).toBe(ExitCode.timeout);
    return out;
  };

  it.each<[string, object]>([
    ['quay: UNCONFIRMED (away): it is not connected', { reason: 'away' }],
    ['quay: UNCONFIRMED (unanswered): it is connected, and has not answered yet.', { reason: 'unanswered' }],
    ['quay: UNCONFIRMED (unconfirmed): not every death was seen yet.', { reason: 'unconfirmed' }],
    [
      'quay: UNCONFIRMED (policy-peer): the order was refused. Whoever has signed this may not order it here.',
      { reason: 'refused', code: 'policy-peer' },
    ],
    [
      "(statement-missing): The answer to the kill-all comes without the reaper's",
      { reason: 'unconfirmed', code: 'statement-missing' },
    ],
  ])('says “%s”', async (text, more) => {
    const out = await told(more);
    expect(out).toContain(text);
    expect(out).toContain(`Their leases end by ${ENDS}.`);
  });

  const order = command({ case: 'killAll', value: { scope: KillScope.INSTANCE, epoch: 1n } });
  const text = (envelope: typeof order): string => toBase64(encodeEnvelope(envelope));
  /** What a hub calls confirmed: an instance without agents. */
  const confirmed = (statement: Uint8Array): object => {
    const value = { epoch: 1n, agents: [], statement };
    const signed = receipt(envelopeDigest(order), { agentId: '', result: { case: 'killedAll', value } });
    const view = { kind: 'killed-all', verified: true, envelope: text(signed), command: text(order) };
    return { ...line, confirmed: true, epoch: '1', receipt: view };
  };

  it(
    'is believed with its reaper’s statement alone, whatever the hub says',
    proves('FED-10', async () => {
      expect(await told(confirmed(new Uint8Array()))).toContain('quay: UNCONFIRMED (statement-missing)');
      const stated = killAllStatement(envelopeDigest(order), { agents: [] }, 'spoke');
      expect(await told(confirmed(stated))).toContain('quay: UNCONFIRMED (statement-invalid)');
      said = [confirmed(killAllStatement(envelopeDigest(order), { agents: [] })), totals];
      const { code, out } = await capstan('agents', 'kill-all', '--mesh');
      expect(out).toContain('quay: confirmed, 0 agents');
      expect(code).toBe(ExitCode.ok);
    }),
  );
});
