import {
  IsBoolean,
  IsIn,
  IsInt,
  IsNotEmpty,
  IsOptional,
  IsString,
  IsUrl,
  Matches,
  Max,
  MaxLength,
  Min,
} from 'class-validator';
import { loadConfig } from '@capstan/platform';
import { hubId, type HubId } from '@capstan/protocol';
import { NO_TLS, readTls, tlsFaults, type TlsSettings } from './tls/tls-settings.js';

/** The hub's environment; docs/reference lists it. */
export class HubEnvironment {
  /** The hub's id, which its messages carry and instances pin. */
  @Matches(/^[a-z0-9-]{1,63}$/, { message: 'CAPSTAN_HUB_ID must match [a-z0-9-]{1,63}' })
  CAPSTAN_HUB_ID: string = 'hub';

  /** A name for people, in the document that the hub publishes about itself. */
  @IsString()
  @MaxLength(120)
  CAPSTAN_HUB_DISPLAY_NAME: string = 'Capstan hub';

  /** The address on which it listens. */
  @IsNotEmpty()
  CAPSTAN_HUB_HOST: string = '127.0.0.1';

  /** The port on which it listens; 0 for any. */
  @IsInt()
  @Min(0)
  @Max(65535)
  CAPSTAN_HUB_PORT: number = 7400;

  /** Directory of identity key, admin token, TLS key and `routing.yaml`. */
  @IsNotEmpty({ message: 'CAPSTAN_HUB_STATE_DIR must name the directory of the identity key and the admin token' })
  CAPSTAN_HUB_STATE_DIR: string = '';

  /** URL of a PostgreSQL database. */
  @IsNotEmpty({ message: 'CAPSTAN_DATABASE_URL must be the URL of a PostgreSQL database' })
  CAPSTAN_DATABASE_URL: string = '';

  /** How spokes reach the hub, where that is not host and port: http(s)://name[:port]. */
  @IsOptional()
  @IsUrl({ protocols: ['http', 'https'], require_protocol: true, require_tld: false })
  CAPSTAN_HUB_PUBLIC_URL: string | undefined;

  /** `auto`: https with a certificate that the hub makes and renews; `files`: with one that it is given; `off`: http. */
  @IsIn(['off', 'auto', 'files'])
  CAPSTAN_HUB_TLS: 'off' | 'auto' | 'files' = 'off';

  /** PEM file with the certificate and its chain; read again when it changes. */
  @IsOptional()
  @IsNotEmpty()
  CAPSTAN_HUB_TLS_CERT: string | undefined;

  /** PEM file with the certificate's private key. */
  @IsOptional()
  @IsNotEmpty()
  CAPSTAN_HUB_TLS_KEY: string | undefined;

  /** Where TLS ends. `proxy`: in front of the hub; links are then not bound to their TLS connection. */
  @IsIn(['hub', 'proxy'])
  CAPSTAN_HUB_TLS_ENDS: 'hub' | 'proxy' = 'hub';

  /** What invitations pin: `own`, the hub's TLS key; `none`, and a public CA must vouch; or the pin of a proxy's key. */
  @IsOptional()
  @IsNotEmpty()
  CAPSTAN_HUB_TLS_PIN: string | undefined;

  /** How often each instance's kill path is proven, milliseconds; 0 for never by itself. */
  @IsInt()
  @Min(0)
  @Max(86_400_000)
  CAPSTAN_HUB_PROBE_EVERY_MS: number = 60_000;

  /** Refuse spawns on instances that a kill was not proven to reach. */
  @IsBoolean()
  CAPSTAN_HUB_REQUIRE_PROBE: boolean = false;

  /** Who may re-arm after a kill-all: another admin than the one who killed, or anyone. */
  @IsIn(['another', 'anyone'])
  CAPSTAN_HUB_REARM: 'another' | 'anyone' = 'another';

  /** Valkey through which the replicas of this hub hear of each other; without it the hub is alone. */
  @IsOptional()
  @IsNotEmpty()
  CAPSTAN_VALKEY_URL: string | undefined;

  /** Lowest level that is logged; `info` unless told. */
  @IsOptional()
  @IsIn(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'])
  CAPSTAN_LOG_LEVEL: string | undefined;
}

/** How the hub stops agents, and lets them start again. */
export interface KillswitchSettings {
  /** Milliseconds between two probes of an instance; 0 where nobody asks by itself. */
  readonly probeEveryMs: number;
  readonly requireProbe: boolean;
  readonly rearm: 'another' | 'anyone';
}

/** The hub's configuration: read once, injected everywhere. */
export class HubConfig {
  constructor(
    readonly hubId: HubId,
    readonly displayName: string,
    readonly host: string,
    readonly port: number,
    readonly stateDirectory: string,
    readonly databaseUrl: string,
    readonly publicUrl: string | undefined,
    readonly killswitch: KillswitchSettings = { probeEveryMs: 0, requireProbe: false, rearm: 'another' },
    readonly tls: TlsSettings = NO_TLS,
    /** Set where there are replicas: other hubs of the same id, key and database. */
    readonly valkeyUrl?: string,
  ) {}
}

/** @throws LocalFault `config-invalid` that names every fault at once. */
export function readHubConfig(env: Readonly<Record<string, string | undefined>>): HubConfig {
  const e = loadConfig(HubEnvironment, env, tlsFaults);
  const { CAPSTAN_HUB_PUBLIC_URL: publicUrl } = e;
  return new HubConfig(
    hubId(e.CAPSTAN_HUB_ID),
    e.CAPSTAN_HUB_DISPLAY_NAME,
    e.CAPSTAN_HUB_HOST,
    e.CAPSTAN_HUB_PORT,
    e.CAPSTAN_HUB_STATE_DIR,
    e.CAPSTAN_DATABASE_URL,
    publicUrl?.replace(/\/+$/, ''),
    {
      probeEveryMs: e.CAPSTAN_HUB_PROBE_EVERY_MS,
      requireProbe: e.CAPSTAN_HUB_REQUIRE_PROBE,
      rearm: e.CAPSTAN_HUB_REARM,
    },
    readTls(e),
    e.CAPSTAN_VALKEY_URL,
  );
}
