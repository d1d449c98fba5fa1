import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { proves } from '../support/proves.js';

const ROOT = join(__dirname, '..', '..');
const text = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

interface Service {
  image?: string;
  build?: { context: string; dockerfile: string };
  command?: string[];
  environment?: Record<string, string>;
  secrets?: string[];
  volumes?: string[];
  networks?: string[];
  network_mode?: string;
  ports?: string[];
  depends_on?: Record<string, { condition: string }>;
  healthcheck?: { test?: string[]; disable?: boolean };
  read_only?: boolean;
  privileged?: boolean;
  cap_drop?: string[];
  cap_add?: string[];
  security_opt?: string[];
  pids_limit?: number;
  user?: string;
  pid?: string;
  profiles?: string[];
}

interface Compose {
  name: string;
  services: Record<string, Service>;
  networks: Record<string, { internal?: boolean }>;
  volumes: Record<string, unknown>;
  secrets: Record<string, { file: string }>;
}

/** Of the compose specification's services.md, what may stand here; a misspelt word would be ignored by some programs. */
const WORDS = [
  ...['build', 'cap_add', 'cap_drop', 'cgroup', 'command', 'depends_on', 'environment', 'healthcheck', 'image', 'init'],
  ...['logging', 'network_mode', 'networks', 'pid', 'pids_limit', 'ports', 'profiles', 'read_only', 'restart'],
  ...['secrets', 'security_opt', 'tmpfs', 'user', 'volumes'],
];
const CONDITIONS = ['service_started', 'service_healthy', 'service_completed_successfully'];

/** Each capability that is given back, and to whom; everybody else has none. */
const CAPABILITIES: Readonly<Record<string, string[]>> = {
  reaper: ['KILL', 'SYS_PTRACE', 'DAC_OVERRIDE', 'SYS_NICE'],
  orchestrator: ['CHOWN', 'FOWNER', 'DAC_OVERRIDE', 'KILL', 'SYS_PTRACE'],
  runtime: ['DAC_OVERRIDE'],
  spoke: ['DAC_OVERRIDE'],
};

/** Where each process's own configuration names its variables. */
const CONFIGURATIONS: Readonly<Record<string, string>> = {
  hub: 'apps/hub/src/hub.config.ts',
  spoke: 'apps/spoke/src/config/spoke.config.ts',
  orchestrator: 'apps/orchestrator/src/config/environment.ts',
  runtime: 'apps/orchestrator/src/config/environment.ts',
  reaper: 'apps/orchestrator/src/reaper/run-reaper.ts',
};

const compose = parse(text('deploy/compose.yaml'), { merge: true }) as Compose;
const services = Object.entries(compose.services);

describe('deploy/compose.yaml', () => {
  it.each(services)('%s says nothing that a compose file does not know', (_name, service) => {
    expect(Object.keys(service).filter((word) => !WORDS.includes(word))).toEqual([]);
    expect(service.image).toBeDefined();
    for (const secret of service.secrets ?? []) expect(compose.secrets).toHaveProperty(secret);
    for (const network of service.networks ?? []) expect(compose.networks).toHaveProperty(network);
    expect(service.network_mode === undefined || service.networks === undefined).toBe(true);
    for (const volume of service.volumes ?? []) {
      const [source = ''] = volume.split(':');
      if (!/^[/$]/.test(source)) expect(compose.volumes).toHaveProperty(source);
    }
    for (const [on, { condition }] of Object.entries(service.depends_on ?? {})) {
      const other = compose.services[on];
      expect(CONDITIONS).toContain(condition);
      expect(other?.profiles).toEqual(service.profiles);
      if (condition === 'service_healthy') expect(other?.healthcheck?.test).toBeDefined();
    }
  });

  it.each(services)('%s is confined', (name, service) => {
    expect(service).toMatchObject({
      read_only: true,
      cap_drop: ['ALL'],
      security_opt: ['no-new-privileges:true'],
      pids_limit: 512,
    });
    expect(service.privileged).toBeUndefined();
    expect(service.cap_add ?? []).toEqual(CAPABILITIES[name] ?? []);
    if (name !== 'runtime') expect(service.healthcheck?.test?.length).toBeGreaterThan(1);
  });

  it.each(services)(
    '%s has no password on its command line, which everybody on the host can read',
    (_name, service) => {
      const words = [...(service.command ?? []), ...(service.healthcheck?.test ?? [])];
      expect(words.filter((word) => /PASSWORD|KEY|TOKEN/.test(word))).toEqual([]);
    },
  );

  it('gives Valkey the users that `capstan up` gives it, by their passwords’ digests', () => {
    const given = {
      CAPSTAN_VALKEY_SPOKE_PASSWORD: 'of the spoke',
      CAPSTAN_VALKEY_ORCHESTRATOR_PASSWORD: "it's another",
    };
    const env = { PATH: process.env['PATH'], ...given };
    const printed = execFileSync('sh', [join(ROOT, 'deploy/valkey-users')], { env, encoding: 'utf8' });
    const ours = text('libs/localmesh/src/valkey/valkey.ts');
    const rightsOf = (role: string): string => new RegExp(`^  ${role}: '(.*)',$`, 'm').exec(ours)?.[1] ?? 'missing';
    const digest = (password: string): string => createHash('sha256').update(password).digest('hex');
    expect(printed.trim().split('\n')).toEqual([
      /REPLAY_USER = '(.*)'/.exec(ours)?.[1],
      `user spoke on #${digest(given.CAPSTAN_VALKEY_SPOKE_PASSWORD)} ${rightsOf('spoke')}`,
      `user orchestrator on #${digest(given.CAPSTAN_VALKEY_ORCHESTRATOR_PASSWORD)} ${rightsOf('orchestrator')}`,
    ]);
    expect(compose.services['valkey']?.command?.slice(-2)).toEqual(['--aclfile', '/run/secrets/valkey-users']);
  });

  it(
    'gives Docker’s socket and the host’s processes only to those that start and end agents',
    proves('ORC-103', () => {
      const having = (is: (service: Service) => boolean): string[] =>
        services.filter(([, service]) => is(service)).map(([name]) => name);
      expect(having(({ volumes = [] }) => volumes.some((volume) => volume.includes('docker.sock')))).toEqual([
        'orchestrator',
      ]);
      expect(having(({ pid }) => pid === 'host')).toEqual(['reaper', 'orchestrator']);
      // Both end containers by their control groups: read-only, those of v2 refused the kill.
      expect(having(({ volumes = [] }) => volumes.includes('/sys/fs/cgroup:/sys/fs/cgroup'))).toEqual([
        'reaper',
        'orchestrator',
      ]);
      expect(having(({ environment = {} }) => 'ANTHROPIC_API_KEY' in environment)).toEqual(['orchestrator']);
      expect(having(({ ports = [] }) => ports.length > 0)).toEqual(['hub', 'orchestrator']);
      expect(compose.networks['instance']).toEqual({ internal: true });
    }),
  );

  it(
    'has the orchestrator with its port, its health, its mounts, and what it depends on',
    proves('ORC-103', () => {
      const { orchestrator, hub } = compose.services;
      expect(orchestrator).toMatchObject({
        ports: ['127.0.0.1:3001:3001'],
        depends_on: { valkey: { condition: 'service_healthy' }, reaper: { condition: 'service_healthy' } },
      });
      // Agents' mounts are found by the host's Docker: the same path on both sides.
      expect(orchestrator?.volumes).toContain('${CAPSTAN_INSTANCE_DIR}:${CAPSTAN_INSTANCE_DIR}');
      expect(orchestrator?.healthcheck?.test?.join(' ')).toContain('http://127.0.0.1:3001/health');
      expect(hub?.ports).toEqual(['7400:7400']);
    }),
  );

  it.each(Object.entries(CONFIGURATIONS))('names for %s only variables that it reads', (name, file) => {
    const names = Object.keys(compose.services[name]?.environment ?? {});
    expect(names.length).toBeGreaterThan(0);
    expect(names.filter((variable) => !new RegExp(`\\b${variable}\\b`).test(text(file)))).toEqual([]);
  });

  it.each(services.filter(([, { build }]) => build !== undefined))('runs of %s what is built', (_name, service) => {
    expect(service.build?.context).toBe('..');
    expect(existsSync(join(ROOT, service.build?.dockerfile ?? ''))).toBe(true);
    const program = service.command?.find((word) => word.startsWith('dist/'));
    if (program !== undefined)
      expect(existsSync(join(ROOT, program.replace('dist/', '').replace(/js$/, 'ts')))).toBe(true);
  });
});

describe.each(['hub', 'instance', 'agent'])('deploy/%s/Dockerfile', (name) => {
  const lines = text(`deploy/${name}/Dockerfile`).replaceAll('\\\n', ' ').split('\n');
  const last = lines.slice(lines.findLastIndex((line) => line.startsWith('FROM ')));

  it(
    'is built in stages, from a minimal base, runs as nobody special and says whether it is well',
    proves('ORC-119', () => {
      const bases = lines.filter((line) => line.startsWith('FROM '));
      expect(bases.length).toBeGreaterThan(1);
      const byDefault = lines.find((line) => line.startsWith('ARG BUILD_BASE='))?.slice('ARG BUILD_BASE='.length) ?? '';
      for (const base of bases)
        expect(base.replace('${BUILD_BASE}', byDefault)).toMatch(
          /^FROM (?:[a-z]+:(?:\d+-)?bookworm-slim|scratch)(?: AS \w+)?$/,
        );
      // What npm is told for the build is in no image.
      expect(last[0]).not.toContain('$');
      expect(last.filter((line) => line.startsWith('USER ')).at(-1)).toMatch(/^USER (?:node|65534:65534)$/);
      expect(last.some((line) => line.startsWith('HEALTHCHECK '))).toBe(true);
    }),
  );

  it('copies what is there, and nothing that .dockerignore leaves out', () => {
    const ignored = text('.dockerignore').split('\n');
    for (const line of lines.filter((each) => each.startsWith('COPY ') && !each.includes('--from='))) {
      for (const source of line.split(' ').slice(1, -1)) {
        expect(existsSync(join(ROOT, source))).toBe(true);
        expect(ignored).not.toContain(source);
      }
    }
    for (const [, path = ''] of lines.join('\n').matchAll(/--from=build \/src\/(\S+)/g)) {
      if (!['dist', 'node_modules'].includes(path)) expect(existsSync(join(ROOT, path))).toBe(true);
    }
  });

  it('has nothing setuid', () => {
    const stage = lines.filter((line) => line.startsWith('RUN ')).at(-1);
    expect(stage).toContain('find / -xdev -perm /6000 -type f -exec chmod a-s {} +');
  });

  it('installs no secret and fetches nothing by hand', () => {
    expect(lines.join('\n')).not.toMatch(/\b(?:curl|wget|ADD http|ARG \w*(?:TOKEN|KEY|PASSWORD))/);
  });
});

describe('what the images of hub and instance are built of', () => {
  it.each(['hub', 'instance'])(
    '%s gets the compilers’ binaries, which are optional packages, and loses them again',
    (name) => {
      const dockerfile = text(`deploy/${name}/Dockerfile`);
      expect(dockerfile).toMatch(/^RUN npm ci .*--include=optional$/m);
      expect(dockerfile).toContain('npm prune --omit=dev --omit=optional');
      expect(dockerfile).toMatch(/rm -rf .*node_modules\/\.package-lock\.json/);
    },
  );

  it('the files that a build does not compile, where their readers look for them', () => {
    const copied = (name: string, path: string): boolean =>
      text(`deploy/${name}/Dockerfile`).includes(`COPY --from=build /src/${path} ${path}\n`);
    expect(copied('hub', 'apps/hub/src/database/migrations')).toBe(true);
    expect(copied('instance', 'apps/orchestrator/src/gateway/playbooks')).toBe(true);
  });
});
