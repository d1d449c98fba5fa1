import { isAbsolute } from 'node:path';
import { type ListenTarget, loadConfig, parseListenTarget } from '@capstan/platform';
import { IsIn, IsOptional, IsString } from 'class-validator';
import { InstanceDir } from '../instance/instance-dir.js';

/** The spoke's environment; docs/reference lists it. */
class SpokeEnvironment {
  /** Absolute path of the instance's directory: keys, policy, sockets. */
  @IsString()
  CAPSTAN_INSTANCE_DIR: string = '';

  /** URL of the instance's Valkey. */
  @IsOptional()
  @IsString()
  CAPSTAN_VALKEY_URL: string | undefined;

  /** Read where CAPSTAN_VALKEY_URL is not set. */
  @IsOptional()
  @IsString()
  VALKEY_URL: string | undefined;

  /** Where the orchestrator listens, if not on its socket in the instance's directory. */
  @IsOptional()
  @IsString()
  CAPSTAN_ORCHESTRATOR_LISTEN: string | undefined;

  /** Lowest level that is logged; `info` unless told. */
  @IsOptional()
  @IsIn(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'])
  CAPSTAN_LOG_LEVEL: string | undefined;
}

/** The spoke's configuration: read once, injected everywhere. */
export class SpokeConfig {
  constructor(
    readonly dir: InstanceDir,
    readonly valkeyUrl: string,
    readonly orchestrator: ListenTarget,
    /** Milliseconds since the epoch. */
    readonly now: () => number = Date.now,
  ) {}
}

/** @throws LocalFault `config-invalid` that names every fault at once, `listen-malformed` */
export function readSpokeConfig(env: Readonly<Record<string, string | undefined>>): SpokeConfig {
  const e = loadConfig(SpokeEnvironment, env, faultsOf);
  const dir = new InstanceDir(e.CAPSTAN_INSTANCE_DIR);
  const listen = e.CAPSTAN_ORCHESTRATOR_LISTEN;
  return new SpokeConfig(
    dir,
    e.CAPSTAN_VALKEY_URL ?? e.VALKEY_URL ?? '',
    listen === undefined ? { path: dir.orchestratorSocket } : parseListenTarget(listen),
  );
}

function faultsOf(e: SpokeEnvironment): string[] {
  const faults: string[] = [];
  if (!isAbsolute(e.CAPSTAN_INSTANCE_DIR)) faults.push('CAPSTAN_INSTANCE_DIR must be the absolute path of an instance');
  if (e.CAPSTAN_VALKEY_URL === undefined && e.VALKEY_URL === undefined) {
    faults.push('CAPSTAN_VALKEY_URL must be the URL of the instance’s Valkey');
  }
  return faults;
}
