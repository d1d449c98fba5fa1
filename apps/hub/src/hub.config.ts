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

const LOOPBACK = ['127.0.0.1', '::1', 'localhost'];

/** The hub's environment; docs/reference lists it. */
export class HubEnvironment {
  @Matches(/^[a-z0-9-]{1,63}$/, { message: 'CAPSTAN_HUB_ID must match [a-z0-9-]{1,63}' })
  CAPSTAN_HUB_ID: string = 'hub';

  @IsString()
  @MaxLength(120)
  CAPSTAN_HUB_DISPLAY_NAME: string = 'Capstan hub';

  @IsNotEmpty()
  CAPSTAN_HUB_HOST: string = '127.0.0.1';

  @IsInt()
  @Min(0)
  @Max(65535)
  CAPSTAN_HUB_PORT: number = 7400;

  @IsNotEmpty({ message: 'CAPSTAN_HUB_STATE_DIR must name the directory of the identity key and the admin token' })
  CAPSTAN_HUB_STATE_DIR: string = '';

  @IsNotEmpty({ message: 'CAPSTAN_DATABASE_URL must be the URL of a PostgreSQL database' })
  CAPSTAN_DATABASE_URL: string = '';

  /** How spokes reach the hub, where that is not host and port: http(s)://name[:port]. */
  @IsOptional()
  @IsUrl({ protocols: ['http', 'https'], require_protocol: true, require_tld: false })
  CAPSTAN_HUB_PUBLIC_URL: string | undefined;

  /** Says that TLS ends in front of the hub, which makes an address beyond loopback acceptable. */
  @IsBoolean()
  CAPSTAN_HUB_BEHIND_TLS: boolean = false;

  @IsOptional()
  @IsIn(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'])
  CAPSTAN_LOG_LEVEL: string | undefined;
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
  ) {}
}

/** @throws LocalFault `config-invalid` that names every fault at once. */
export function readHubConfig(env: Readonly<Record<string, string | undefined>>): HubConfig {
  const e = loadConfig(HubEnvironment, env, unsafeCombinations);
  const { CAPSTAN_HUB_PUBLIC_URL: publicUrl } = e;
  return new HubConfig(
    hubId(e.CAPSTAN_HUB_ID),
    e.CAPSTAN_HUB_DISPLAY_NAME,
    e.CAPSTAN_HUB_HOST,
    e.CAPSTAN_HUB_PORT,
    e.CAPSTAN_HUB_STATE_DIR,
    e.CAPSTAN_DATABASE_URL,
    publicUrl?.replace(/\/+$/, ''),
  );
}

function unsafeCombinations(e: HubEnvironment): string[] {
  const isLocal = LOOPBACK.includes(e.CAPSTAN_HUB_HOST);
  return isLocal || e.CAPSTAN_HUB_BEHIND_TLS
    ? []
    : [
        `CAPSTAN_HUB_HOST ${e.CAPSTAN_HUB_HOST} would carry tokens in clear text: keep to 127.0.0.1, or put TLS in front and set CAPSTAN_HUB_BEHIND_TLS=true`,
      ];
}
