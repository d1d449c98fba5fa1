import { createServer, type Server } from 'node:http';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { proves } from '../../../test/support/proves.js';
import { ExitCode } from './exit-codes.js';
import { Output } from './output/output.js';
import { buildProgram } from './program.js';
import { runCli } from './run-cli.js';

/** One run: exit code, and what was printed. */
async function capstan(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const text = { out: '', err: '' };
  const code = await runCli(args, {
    out: { write: (part) => (text.out += part) },
    err: { write: (part) => (text.err += part) },
  });
  return { code, ...text };
}

/** Every command that can be typed. */
const COMMANDS: string[] = [
  ...['conformance', 'down', 'events', 'kill', 'status', 'up', 'verify'],
  ...['kill', 'kill-all', 'logs', 'ls', 'message', 'rearm', 'salvage', 'spawn', 'status'].map(
    (name) => `agents ${name}`,
  ),
  ...['accept', 'export', 'heads', 'ls'].map((name) => `audit ${name}`),
  ...['create', 'ls', 'revoke'].map((name) => `auth token ${name}`),
  ...['create', 'show'].map((name) => `grant ${name}`),
  ...['rotate-key'].map((name) => `hub ${name}`),
  ...['add', 'init', 'ls', 'pin', 'revoke', 'send', 'sign', 'use'].map((name) => `operator ${name}`),
  ...['pause', 'resume', 'show'].map((name) => `queue ${name}`),
  ...['create', 'pin'].map((name) => `root-key ${name}`),
  ...['seal'].map((name) => `secrets ${name}`),
  ...[
    'approve',
    'catalog',
    'disconnect',
    'invite',
    'join',
    'ls',
    'recover',
    'resume',
    'revoke',
    'rotate-key',
    'suspend',
  ].map((name) => `spoke ${name}`),
];

function pathOf(command: Command): string {
  const { parent } = command;
  return parent?.parent ? `${pathOf(parent)} ${command.name()}` : command.name();
}

describe('capstan', () => {
  let directory: string;
  let context: string;
  let server: Server;
  let answer: { status: number; body: unknown };

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'capstan-cli-'));
    context = join(directory, 'context.json');
    server = createServer((_, response) => {
      response.writeHead(answer.status).end(JSON.stringify(answer.body));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    writeContext((server.address() as AddressInfo).port);
  });
  afterEach(() => {
    server.close();
    server.closeAllConnections();
    rmSync(directory, { recursive: true, force: true });
  });

  function writeContext(port: number): void {
    const [tokenFile, trustFile] = [join(directory, 'token'), join(directory, 'trust.json')];
    writeFileSync(tokenFile, 'secret\n');
    writeFileSync(
      context,
      JSON.stringify({ version: 1, hubId: 'hub', hubUrl: `http://127.0.0.1:${String(port)}`, tokenFile, trustFile }),
    );
  }

  it(
    'offers --json on every command',
    proves('CLI-01', () => {
      const commands = leavesOf(buildProgram(new Output({ isJson: false })));
      expect(commands.map(pathOf).sort()).toEqual(COMMANDS.toSorted());
      for (const command of commands) expect(command.options.map(({ long }) => long)).toContain('--json');
    }),
  );

  it('exits with the documented codes', () => {
    expect(ExitCode).toEqual({
      ok: 0,
      error: 1,
      usage: 2,
      notFound: 3,
      denied: 4,
      conflict: 5,
      gateFailed: 6,
      timeout: 7,
      unreachable: 8,
      interrupted: 130,
    });
  });

  it.each([
    ['an unknown command', ['fly']],
    ['an unknown option', ['agents', 'ls', '--fast']],
    ['a missing argument', ['agents', 'kill']],
    ['a wrong choice', ['agents', 'spawn', 'quay', '--repo', 'r', '--item', 'i', '--type', 'boss']],
    ['a budget that is no number', ['agents', 'spawn', 'quay', '--repo', 'r', '--item', 'i', '--budget', 'much']],
    ['no such sandbox', ['agents', 'spawn', 'quay', '--repo', 'r', '--item', 'i', '--sandbox', 'none']],
    ['a time without a unit', ['agents', 'spawn', 'quay', '--repo', 'r', '--item', 'i', '--kill-after', '60']],
    ['a lease and none', ['agents', 'spawn', 'quay', '--repo', 'r', '--item', 'i', '--kill-after', '60s', '--keep']],
    ['a port beyond all ports', ['up', '--port', '70000']],
    ['no command at all', ['agents']],
  ])('exits with 2 for %s, and says it on stderr', async (_, args) => {
    const { code, out, err } = await capstan(...args);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).not.toBe('');
  });

  it.each<[number, number, unknown]>([
    [3, 404, { code: 'agent-unknown', detail: 'No such agent.' }],
    [4, 401, { code: 'unauthorized', detail: 'A valid bearer token is needed.' }],
    [4, 422, { code: 'policy-budget', detail: 'Too expensive.' }],
    [5, 409, { code: 'agent-exists', detail: 'There is one.' }],
    [
      2,
      400,
      {
        code: 'validation',
        detail: 'The request is not valid.',
        errors: [{ field: 'agentId', message: 'must be an id' }],
      },
    ],
    [7, 504, { code: 'instance-away', detail: 'Away.' }],
    [1, 500, { code: 'internal', detail: 'Broken.' }],
  ])(
    'exits with %i where the hub answers %i, and prints sentence and code, or one object with --json',
    (exit, status, body) =>
      proves('CLI-01', async () => {
        answer = { status, body };
        const { code, detail } = body as { code: string; detail: string };
        const plain = await capstan('--context', context, 'agents', 'ls');
        expect({ code: plain.code, out: plain.out }).toEqual({ code: exit, out: '' });
        expect(plain.err).toContain(`${detail} (${code})`);
        const json = await capstan('--context', context, 'agents', 'ls', '--json');
        expect(json.code).toBe(exit);
        expect(onlyObject(json.out)).toMatchObject({
          version: 1,
          kind: 'capstan.error',
          error: { code, sentence: detail },
        });
      })(),
  );

  it('names the wrong fields that the hub names', async () => {
    answer = {
      status: 400,
      body: {
        code: 'validation',
        detail: 'The request is not valid.',
        errors: [{ field: 'context.repository', message: 'must be a text' }],
      },
    };
    expect((await capstan('--context', context, 'agents', 'ls')).err).toContain('context.repository: must be a text');
  });

  it('exits with 3 where a probe names an instance that is none', async () => {
    answer = { status: 404, body: { code: 'instance-unknown', detail: 'No such instance.' } };
    expect((await capstan('--context', context, 'kill', '--probe', '--on', 'nobody')).code).toBe(3);
  });

  it('exits with 5 where the name of a token is given already', async () => {
    answer = { status: 409, body: { code: 'name-taken', detail: 'This name is given already.' } };
    expect((await capstan('--context', context, 'auth', 'token', 'create', 'bob')).code).toBe(5);
  });

  it('exits with 2 for a name that no instance can have, and says what one may hold', async () => {
    const { code, err } = await capstan('spoke', 'join', 'capstan-invite', '--dir', directory, '--name', 'My Box');
    expect(code).toBe(2);
    expect(err).toContain('"My Box" is no name of an instance');
    expect(err).not.toContain('UUID');
  });

  it('exits with 8 where no hub answers, and with 3 where no mesh was ever started', async () => {
    writeContext(9);
    expect(await capstan('--context', context, 'status', '--json')).toMatchObject({ code: 8 });
    const { code, out } = await capstan('--context', join(directory, 'nowhere.json'), 'status', '--json');
    expect(code).toBe(3);
    expect(onlyObject(out)).toMatchObject({ error: { code: 'context-missing' } });
  });

  it('ends a mesh that does not run without complaint', async () => {
    const { code, out } = await capstan('down', '--state', directory, '--json');
    expect({ code, object: onlyObject(out) }).toEqual({
      code: 0,
      object: { version: 1, kind: 'capstan.down', stateDir: directory, wasRunning: false, ended: [] },
    });
  });

  it('strips control characters from whatever an agent said, and keeps them out of tables', async () => {
    const nasty = 'a\u001b]0;owned\u0007b\u0000\u202ec\rd\u009b2J';
    answer = {
      status: 200,
      body: { lines: [{ sequence: 1, at: 'now', source: 'agent', text: nasty }], next: 2, gap: false },
    };
    const { out } = await capstan('--context', context, 'agents', 'logs', 'a-1');

    expect(out).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
    expect(out).toContain('bcd2J');
  });
});

function leavesOf(command: Command): Command[] {
  return command.commands.length === 0 ? [command] : command.commands.flatMap(leavesOf);
}

/** The one JSON object in the one line of stdout. */
function onlyObject(out: string): unknown {
  expect(out.match(/\n/g)).toHaveLength(1);
  return JSON.parse(out);
}
