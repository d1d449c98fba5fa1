import { execFile } from 'node:child_process';
import { randomBytes, X509Certificate } from 'node:crypto';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { spkiPin } from '@capstan/identity';
import { until } from '../support/until.js';

const run = promisify(execFile);
const ROOT = join(__dirname, '..', '..');
const PASSWORDS = {
  CAPSTAN_POSTGRES_PASSWORD: 'of-postgres',
  CAPSTAN_VALKEY_SPOKE_PASSWORD: 'of-the-spoke',
  CAPSTAN_VALKEY_ORCHESTRATOR_PASSWORD: 'of-the-orchestrator',
};

/** Docker's client on one daemon. @returns what it printed; of `logs`, both streams */
export async function docker(host: string, ...args: string[]): Promise<string> {
  const env = { ...process.env, DOCKER_HOST: host };
  const { stdout, stderr } = await run('docker', args, { env, maxBuffer: 64 * 1024 * 1024 });
  return args[0] === 'logs' ? stdout + stderr : stdout;
}

/**
 * Hub and instance of deploy/compose.yaml under one Docker, as docs/how-to/docker.md starts them, in a project of its own, so
 * that it never meets another Capstan there; on ports of the loopback that Docker chooses. Gone at the end.
 */
export class Composed implements AsyncDisposable {
  readonly project = `capstan-check-${randomBytes(6).toString('hex')}`;
  readonly directory: string;
  readonly instanceDir: string;
  private readonly file: string;

  /** @param socket of the daemon, for the orchestrator */
  constructor(
    private readonly host: string,
    socket: string,
  ) {
    const text = replaceEach(readFileSync(join(ROOT, 'deploy/compose.yaml'), 'utf8'), [
      ['\nname: capstan\n', `\nname: ${this.project}\n`],
      ["'7400:7400'", "'127.0.0.1::7400'"],
      ["'127.0.0.1:3001:3001'", "'127.0.0.1::3001'"],
      ['/var/run/docker.sock:/var/run/docker.sock', `${socket}:/var/run/docker.sock`],
    ]);
    this.directory = mkdtempSync(join(tmpdir(), 'capstan-composed-'));
    this.instanceDir = join(this.directory, 'instance');
    this.file = join(this.directory, 'deploy', 'compose.yaml');
    chmodSync(this.directory, 0o711);
    for (const name of ['deploy', 'instance']) mkdirSync(join(this.directory, name), { mode: 0o711 });
    writeFileSync(this.file, text);
  }

  /** Words that only later clients know are left out for an earlier one; the daemon's defaults say the same. */
  async prepare(): Promise<void> {
    const { stdout } = await run('sh', [join(ROOT, 'deploy/valkey-users')], { env: { ...process.env, ...PASSWORDS } });
    writeFileSync(this.env['CAPSTAN_VALKEY_USERS'] ?? '', stdout, { mode: 0o600 });
    chownSync(this.env['CAPSTAN_VALKEY_USERS'] ?? '', 999, 999);
    if (await this.isEarly()) {
      const text = readFileSync(this.file, 'utf8');
      writeFileSync(this.file, text.replaceAll(/^(?:name: .*| +cgroup: host)\n/gm, ''));
    }
  }

  /** Runs compose with a profile. */
  async compose(profile: string, ...args: string[]): Promise<string> {
    const command = (await this.isEarly()) ? ['docker-compose'] : ['docker', 'compose'];
    const all = [...command.slice(1), '--file', this.file, '--profile', profile, ...args];
    return (await run(command[0] ?? '', all, { env: this.env, maxBuffer: 64 * 1024 * 1024 })).stdout;
  }

  /** What `docker inspect` says of a service's container. */
  async inspect(service: string): Promise<Inspected> {
    const words = [`project=${this.project}`, `service=${service}`, 'oneoff=False'];
    const labels = words.map((word) => `--filter=label=com.docker.compose.${word}`);
    const id = (await docker(this.host, 'ps', '--all', '--quiet', ...labels)).trim();
    return (JSON.parse(await docker(this.host, 'inspect', id)) as [Inspected])[0];
  }

  /** What a service has logged since its last start. */
  async log(service: string): Promise<string> {
    const { Id, State } = await this.inspect(service);
    return docker(this.host, 'logs', '--since', State.StartedAt, Id);
  }

  /** Waits until its health check says so. */
  healthy(service: string): Promise<unknown> {
    return until(
      `${service} is healthy`,
      async () => (await this.inspect(service)).State.Health?.Status === 'healthy',
      180_000,
    );
  }

  /** @throws Error where Docker did not remove all of it: the files stay too, for whoever removes the rest by hand */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.compose('hub', '--profile', 'instance', 'down', '--volumes', '--timeout', '20');
    } catch (cause) {
      throw new Error(`Compose's project ${this.project} could not be removed; its files: ${this.directory}`, {
        cause,
      });
    }
    rmSync(this.directory, { recursive: true, force: true });
  }

  private get env(): NodeJS.ProcessEnv {
    return {
      ...process.env,
      ...PASSWORDS,
      DOCKER_HOST: this.host,
      COMPOSE_PROJECT_NAME: this.project,
      CAPSTAN_HUB_PUBLIC_URL: 'https://hub:7400',
      CAPSTAN_INSTANCE_DIR: this.instanceDir,
      CAPSTAN_VALKEY_USERS: join(this.directory, 'valkey-users.acl'),
    };
  }

  private isEarly(): Promise<boolean> {
    return run('docker', ['compose', 'version']).then(
      () => false,
      () => true,
    );
  }
}

/** @throws Error where one of them is not there exactly once */
function replaceEach(text: string, pairs: [from: string, to: string][]): string {
  return pairs.reduce((all, [from, to]) => {
    const parts = all.split(from);
    if (parts.length !== 2) throw new Error(`deploy/compose.yaml has not one ${from.trim()}`);
    return parts.join(to);
  }, text);
}

export interface Inspected {
  Id: string;
  State: { Status: string; StartedAt: string; OOMKilled: boolean; Health?: { Status: string } };
  HostConfig: { ReadonlyRootfs: boolean; CapDrop: string[]; SecurityOpt: string[]; PidsLimit: number };
  NetworkSettings: { Ports: Record<string, { HostPort: string }[] | null> };
}

/** What the owner allows: agents in Docker, on one repository. */
export function policyFor(repository: string): string {
  const spawn = {
    ...{ runtimes: ['claude'], repositories: [repository], tenants: ['default'], concurrency: 2 },
    ...{ budgetMicroUsd: 1_000_000, timeoutMs: 600_000, sandboxes: ['docker'] },
  };
  return JSON.stringify({ version: 1, spawn });
}

/** Of a certificate's key, as a client pins it. */
export function pinOf(certificate: string): string {
  return spkiPin(new X509Certificate(certificate));
}
