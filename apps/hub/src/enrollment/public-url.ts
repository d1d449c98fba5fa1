import type { AddressInfo } from 'node:net';
import { Injectable } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import { HubConfig } from '../hub.config.js';
import { HubTls } from '../tls/hub-tls.js';

/** Where spokes find this hub. */
@Injectable()
export class PublicUrl {
  constructor(
    private readonly config: HubConfig,
    private readonly host: HttpAdapterHost,
    private readonly tls: HubTls,
  ) {}

  /** As configured, else the address on which the hub listens. */
  get(): string {
    if (this.config.publicUrl !== undefined) return this.config.publicUrl;
    const server = this.host.httpAdapter.getHttpServer() as { address(): AddressInfo | string | null };
    const address = server.address();
    const port = address !== null && typeof address === 'object' ? address.port : this.config.port;
    const { host } = this.config;
    return `${this.tls.isOn ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${String(port)}`;
  }
}
