import { mkdtemp, readFile, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { INestApplication, LoggerService } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { createLogger, listen, NestLog, ProblemFilter, requestValidation } from '@capstan/platform';
import { pinnedFetch } from '@capstan/identity';
import { hubId } from '@capstan/protocol';
import { configureHub } from '../src/configure-hub.js';
import { HubConfig, type KillswitchSettings } from '../src/hub.config.js';
import { HubModule } from '../src/hub.module.js';
import { HubTls } from '../src/tls/hub-tls.js';
import { NO_TLS, type TlsSettings } from '../src/tls/tls-settings.js';

/** An answer of the hub, read. */
export interface Reply<T = Record<string, unknown>> {
  status: number;
  body: T;
  headers: Headers;
}

/** A whole hub in this process: real HTTP, real links, the database that it is given. */
export class TestHub implements AsyncDisposable {
  private stopping: Promise<void> | undefined;

  private constructor(
    readonly app: INestApplication,
    readonly url: string,
    readonly token: string,
    readonly stateDirectory: string,
    readonly databaseUrl: string,
    private ownsState: boolean,
    /** Of its TLS key; undefined without TLS. */
    readonly tlsPin: string | undefined,
  ) {}

  /**
   * @param stateDirectory of a hub that was stopped, to start it again, or of another replica; else a new one.
   * @param valkeyUrl where there are other replicas.
   */
  static async start(
    databaseUrl: string,
    stateDirectory?: string,
    settings: TlsSettings = NO_TLS,
    killswitch?: KillswitchSettings,
    valkeyUrl?: string,
  ): Promise<TestHub> {
    const directory = stateDirectory ?? (await mkdtemp(join(tmpdir(), 'capstan-hub-')));
    const place = ['127.0.0.1', 0, directory, databaseUrl, undefined, killswitch, settings, valkeyUrl] as const;
    const config = new HubConfig(hubId('hub'), 'Test hub', ...place);
    const tls = await HubTls.load(config);
    const https = tls.serverOptions;
    const logger: LoggerService = new NestLog(createLogger('hub'));
    const app = await NestFactory.create<NestExpressApplication>(HubModule.with(config, tls), {
      logger,
      abortOnError: false,
      ...(https === undefined ? {} : { httpsOptions: https }),
    });
    app.useGlobalFilters(new ProblemFilter());
    app.useGlobalPipes(requestValidation());
    configureHub(app);
    await listen(app, { host: '127.0.0.1', port: 0 });
    const { port } = (app.getHttpServer() as { address(): AddressInfo }).address();
    const token = (await readFile(join(directory, 'admin.token'), 'utf8')).trim();
    return new TestHub(
      app,
      `${tls.isOn ? 'https' : 'http'}://127.0.0.1:${String(port)}`,
      token,
      directory,
      databaseUrl,
      stateDirectory === undefined,
      tls.invitePin,
    );
  }

  get<T = Record<string, unknown>>(path: string): Promise<Reply<T>> {
    return this.request<T>('GET', path);
  }

  post<T = Record<string, unknown>>(path: string, body: unknown = {}): Promise<Reply<T>> {
    return this.request<T>('POST', path, JSON.stringify(body));
  }

  /** With the admin's token unless `headers` says otherwise. Paths without a leading slash are below /api/v1/federation/. */
  async request<T = Record<string, unknown>>(
    method: string,
    path: string,
    body?: string,
    headers: Record<string, string> = { authorization: `Bearer ${this.token}` },
  ): Promise<Reply<T>> {
    const url = new URL(`${this.url}${path.startsWith('/') ? path : `/api/v1/federation/${path}`}`);
    const response = await pinnedFetch(this.tlsPin)(url, {
      method,
      headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
      ...(body === undefined ? {} : { body }),
    });
    const text = await response.text();
    const isJson = response.headers.get('content-type')?.includes('json') === true;
    return { status: response.status, body: (isJson ? JSON.parse(text) : { text }) as T, headers: response.headers };
  }

  /** A hub on the same state and database, after this one was stopped; it is the one that removes the state. */
  async successor(): Promise<TestHub> {
    const next = await TestHub.start(this.databaseUrl, this.stateDirectory);
    next.ownsState = this.ownsState;
    this.ownsState = false;
    return next;
  }

  /** Safe to call twice. */
  stop(): Promise<void> {
    this.stopping ??= this.app.close();
    return this.stopping;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    if (this.ownsState) await rm(this.stateDirectory, { recursive: true, force: true });
  }
}
