import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { spkiPin } from '@capstan/identity';
import { HubClient } from '../client/hub-client.js';
import type { ProcessRegister } from '../process/process-register.js';
import { SupervisedProcess } from '../process/supervised-process.js';
import { builtFile, pinnedNode } from '../state/checkout.js';
import { makePrivate } from '../state/state-dir.js';

export interface MeshHubOptions {
  /** Of the process: "hub", and for its replicas "hub-1", "hub-2". */
  name: string;
  dir: string;
  port: number;
  /** It serves https, with a certificate that it makes itself. */
  tls: boolean;
  databaseUrl: string;
  /** Where there are replicas. */
  valkeyUrl?: string;
  logFile: string;
  env: Readonly<Record<string, string>>;
  register: ProcessRegister;
  onRestart?: (name: string) => void;
}

/** The mesh's hub, or one of its replicas: all have one id, one state directory and one token. */
export class MeshHub {
  readonly id = 'hub';

  private constructor(
    readonly url: string,
    readonly port: number,
    readonly dir: string,
    readonly tokenFile: string,
    readonly token: string,
    /** Of its TLS key; undefined without TLS. */
    readonly tlsPin: string | undefined,
    readonly client: HubClient,
    readonly process: SupervisedProcess,
  ) {}

  /** Starts it; resolves once it serves. @throws LocalFault `process-failed` */
  static async start(options: MeshHubOptions): Promise<MeshHub> {
    const { dir, port } = options;
    makePrivate(dir);
    const url = `${options.tls ? 'https' : 'http'}://127.0.0.1:${String(port)}`;
    const pin = async (): Promise<string | undefined> => (options.tls ? readPin(dir) : undefined);
    const process = new SupervisedProcess(
      {
        name: options.name,
        command: pinnedNode(),
        args: [builtFile('apps/hub/src/main.js')],
        cwd: dir,
        env: {
          ...options.env,
          CAPSTAN_HUB_ID: 'hub',
          CAPSTAN_HUB_HOST: '127.0.0.1',
          CAPSTAN_HUB_PORT: String(port),
          CAPSTAN_HUB_STATE_DIR: dir,
          CAPSTAN_DATABASE_URL: options.databaseUrl,
          ...(options.valkeyUrl === undefined ? {} : { CAPSTAN_VALKEY_URL: options.valkeyUrl }),
          ...(options.tls ? { CAPSTAN_HUB_TLS: 'auto' } : {}),
        },
        logFile: options.logFile,
        isReady: async () => new HubClient(url, '', await pin()).isReady(),
      },
      options.register,
      options.onRestart,
    );
    await process.start();
    const tokenFile = join(dir, 'admin.token');
    const token = (await readFile(tokenFile, 'utf8')).trim();
    const tlsPin = await pin();
    return new MeshHub(url, port, dir, tokenFile, token, tlsPin, new HubClient(url, token, tlsPin), process);
  }
}

/** From the hub's own file, never from the network; undefined before its first start has made it. */
async function readPin(dir: string): Promise<string | undefined> {
  const pem = await readFile(join(dir, 'tls', 'cert.pem')).catch(() => undefined);
  return pem === undefined ? undefined : spkiPin(new X509Certificate(pem));
}
