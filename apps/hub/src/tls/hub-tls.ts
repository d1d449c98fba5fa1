import { hostname } from 'node:os';
import { join } from 'node:path';
import { spkiPin } from '@capstan/identity';
import { LocalFault } from '@capstan/protocol';
import type { HubConfig } from '../hub.config.js';
import { givenMaterial, ownMaterial, type TlsMaterial } from './certificate-files.js';
import { NO_TLS, type TlsSettings } from './tls-settings.js';

/** What node:https is given. */
export interface TlsServerOptions {
  key: string;
  cert: string;
  minVersion: 'TLSv1.3';
}

/** The hub's TLS: its key and certificate as they are now, and what spokes are told about it. */
export class HubTls {
  private constructor(
    private readonly settings: TlsSettings,
    private readonly read: (nowMs: number) => Promise<TlsMaterial | undefined>,
    private material: TlsMaterial | undefined,
  ) {}

  static readonly off = new HubTls(NO_TLS, () => Promise.resolve(undefined), undefined);

  /** @throws LocalFault `tls-material` */
  static async load(config: HubConfig, nowMs = Date.now()): Promise<HubTls> {
    const { source } = config.tls;
    const read = async (at: number): Promise<TlsMaterial | undefined> => {
      if (source === 'off') return undefined;
      if (source === 'auto') return ownMaterial(join(config.stateDirectory, 'tls'), namesOf(config), at);
      return givenMaterial(source);
    };
    return new HubTls(config.tls, read, await read(nowMs));
  }

  get isOn(): boolean {
    return this.material !== undefined;
  }

  get ends(): 'hub' | 'proxy' {
    return this.settings.ends;
  }

  /** What an invitation tells the spoke to pin; undefined where a CA must vouch, or where there is no TLS. */
  get invitePin(): string | undefined {
    const { pin } = this.settings;
    if (pin === 'none') return undefined;
    if (pin !== 'own') return pin;
    return this.material === undefined ? undefined : spkiPin(this.material.leaf);
  }

  /** TLS 1.3 only: below it the exporter binds less (RFC 7627, RFC 9266). */
  get serverOptions(): TlsServerOptions | undefined {
    if (this.material === undefined) return undefined;
    const { key, cert } = this.material;
    return { key, cert, minVersion: 'TLSv1.3' };
  }

  /**
   * Renews the hub's own certificate when its time has come, or takes over what has replaced a given one.
   *
   * @returns whether there is another certificate now
   * @throws LocalFault `tls-material`; `tls-key-changed` where spokes have pinned the key that would go: that needs a restart
   */
  async refresh(nowMs: number): Promise<boolean> {
    const [before, next] = [this.material, await this.read(nowMs)];
    if (before === undefined || next === undefined || next.cert === before.cert) return false;
    if (this.settings.pin === 'own' && spkiPin(next.leaf) !== spkiPin(before.leaf)) {
      throw new LocalFault(
        'tls-key-changed',
        'The new TLS certificate has another key than the one that instances have pinned; it is used after a restart.',
      );
    }
    this.material = next;
    return true;
  }
}

/** Under which names the hub may be looked for; pins make up for those that are missing. */
function namesOf({ host, publicUrl }: HubConfig): string[] {
  const isAny = host === '0.0.0.0' || host === '::';
  const asked = publicUrl === undefined ? [] : [new URL(publicUrl).hostname.replace(/^\[|\]$/g, '')];
  return [...new Set([...asked, ...(isAny ? [] : [host]), 'localhost', '127.0.0.1', hostname().toLowerCase()])];
}
