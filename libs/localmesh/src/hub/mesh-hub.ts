import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HubClient } from '../client/hub-client.js';
import type { ProcessRegister } from '../process/process-register.js';
import { SupervisedProcess } from '../process/supervised-process.js';
import { builtFile, pinnedNode } from '../state/checkout.js';
import { makePrivate } from '../state/state-dir.js';

export interface MeshHubOptions {
  dir: string;
  port: number;
  databaseUrl: string;
  logFile: string;
  env: Readonly<Record<string, string>>;
  register: ProcessRegister;
  onRestart?: (name: string) => void;
}

/** The mesh's hub. */
export class MeshHub {
  readonly id = 'hub';

  private constructor(
    readonly url: string,
    readonly port: number,
    readonly dir: string,
    readonly tokenFile: string,
    readonly token: string,
    readonly client: HubClient,
    readonly process: SupervisedProcess,
  ) {}

  /** Starts it; resolves once it serves. @throws LocalFault `process-failed` */
  static async start(options: MeshHubOptions): Promise<MeshHub> {
    const { dir, port } = options;
    makePrivate(dir);
    const url = `http://127.0.0.1:${String(port)}`;
    const process = new SupervisedProcess(
      {
        name: 'hub',
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
        },
        logFile: options.logFile,
        isReady: () => new HubClient(url, '').isReady(),
      },
      options.register,
      options.onRestart,
    );
    await process.start();
    const tokenFile = join(dir, 'admin.token');
    const token = (await readFile(tokenFile, 'utf8')).trim();
    return new MeshHub(url, port, dir, tokenFile, token, new HubClient(url, token), process);
  }
}
