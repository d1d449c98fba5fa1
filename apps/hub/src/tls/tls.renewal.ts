import type { Server as TlsServer } from 'node:https';
import { Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import { createLogger } from '@capstan/platform';
import { HubTls } from './hub-tls.js';

const CHECK_MS = 60_000;

/** Keeps the certificate fresh while the hub runs: new connections get the new one, those that are open live on. */
@Injectable()
export class TlsRenewal implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly log = createLogger('hub.tls');
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly tls: HubTls,
    private readonly host: HttpAdapterHost,
  ) {}

  onApplicationBootstrap(): void {
    if (!this.tls.isOn) return;
    this.log.info({ pin: this.tls.invitePin, ends: this.tls.ends, msg: 'TLS' });
    this.timer = setInterval(() => void this.check(Date.now()), CHECK_MS).unref();
  }

  onModuleDestroy(): void {
    clearInterval(this.timer);
  }

  /** Never throws: the certificate that is there goes on serving. */
  async check(nowMs: number): Promise<void> {
    try {
      if (!(await this.tls.refresh(nowMs))) return;
      (this.host.httpAdapter.getHttpServer() as TlsServer).setSecureContext(this.tls.serverOptions ?? {});
      this.log.info({ pin: this.tls.invitePin, msg: 'the TLS certificate was renewed' });
    } catch (err) {
      this.log.error({ err, msg: 'the TLS certificate was not renewed' });
    }
  }
}
