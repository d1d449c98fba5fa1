import { mkdtemp, readFile, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { INestApplication, LoggerService } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { createLogger, listen, NestLog, ProblemFilter, requestValidation } from '@capstan/platform';
import { hubId } from '@capstan/protocol';
import { configureHub } from '../src/configure-hub.js';
import { HubConfig } from '../src/hub.config.js';
import { HubModule } from '../src/hub.module.js';

/** An answer of the hub, read. */
export interface Reply<T = Record<string, unknown>> {
  status: number;
  body: T;
  headers: Headers;
}

/** A whole hub in this process: real HTTP, real links, the database that it is given. */
export class TestHub implements AsyncDisposable {
  private constructor(
    readonly app: INestApplication,
    readonly url: string,
    readonly token: string,
    readonly stateDirectory: string,
    readonly databaseUrl: string,
    private ownsState: boolean,
  ) {}

  /** @param stateDirectory of a hub that was stopped, to start it again; else a new one. */
  static async start(databaseUrl: string, stateDirectory?: string): Promise<TestHub> {
    const directory = stateDirectory ?? (await mkdtemp(join(tmpdir(), 'capstan-hub-')));
    const config = new HubConfig(hubId('hub'), 'Test hub', '127.0.0.1', 0, directory, databaseUrl, undefined);
    const logger: LoggerService = new NestLog(createLogger('hub'));
    const app = await NestFactory.create<NestExpressApplication>(HubModule.with(config), {
      logger,
      abortOnError: false,
    });
    app.useGlobalFilters(new ProblemFilter());
    app.useGlobalPipes(requestValidation());
    configureHub(app);
    await listen(app, { host: '127.0.0.1', port: 0 });
    const { port } = (app.getHttpServer() as { address(): AddressInfo }).address();
    const token = (await readFile(join(directory, 'admin.token'), 'utf8')).trim();
    return new TestHub(
      app,
      `http://127.0.0.1:${String(port)}`,
      token,
      directory,
      databaseUrl,
      stateDirectory === undefined,
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
    const response = await fetch(`${this.url}${path.startsWith('/') ? path : `/api/v1/federation/${path}`}`, {
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

  async stop(): Promise<void> {
    await this.app.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    if (this.ownsState) await rm(this.stateDirectory, { recursive: true, force: true });
  }
}
