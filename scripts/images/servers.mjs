import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { timed } from '../setup/run.mjs';
import { demandFree, labelOf } from './stand-ins.mjs';

/** As the image of a registry: a first start makes the cluster, every start serves it on the network. */
const POSTGRES_START = `#!/bin/sh
set -eu
export PGDATA=/var/lib/postgresql/18/docker PGHOST=/run/postgresql PATH="$(echo /usr/lib/postgresql/*/bin):$PATH"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  mkdir -p -m 0700 "$PGDATA"
  password="$(mktemp)"
  printf %s "$POSTGRES_PASSWORD" > "$password"
  initdb --username "$POSTGRES_USER" --pwfile "$password" --auth-local trust --auth-host scram-sha-256 > /dev/null
  rm "$password"
  echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
  pg_ctl -w -o "-c listen_addresses= -c unix_socket_directories=$PGHOST" start
  createdb --username "$POSTGRES_USER" "$POSTGRES_DB"
  pg_ctl -w stop
fi
exec postgres -c 'listen_addresses=*' -c "unix_socket_directories=$PGHOST"
`;

/** Debian's own servers in place of those that deploy/compose.yaml names, by the names that it gives them. */
const SERVERS = {
  'postgres:18-bookworm': {
    Dockerfile: `FROM debian:bookworm-slim
RUN groupadd -r -g 999 postgres && useradd -r -u 999 -g postgres postgres \\
  && apt-get update && apt-get install -y --no-install-recommends postgresql && rm -rf /var/lib/apt/lists/* \\
  && chown postgres:postgres /var/lib/postgresql
COPY start /usr/local/bin/start
VOLUME /var/lib/postgresql
ENTRYPOINT ["sh", "/usr/local/bin/start"]
`,
    start: POSTGRES_START,
  },
  'valkey/valkey:8-bookworm': {
    Dockerfile: `FROM debian:bookworm-slim
RUN groupadd -r -g 999 valkey && useradd -r -u 999 -g valkey valkey \\
  && apt-get update && apt-get install -y --no-install-recommends redis-server && rm -rf /var/lib/apt/lists/* \\
  && ln -s redis-server /usr/bin/valkey-server && ln -s redis-cli /usr/bin/valkey-cli && install -d -o valkey -g valkey /data
VOLUME /data
WORKDIR /data
CMD ["valkey-server"]
`,
  },
};

/**
 * Makes stand-ins of the servers that deploy/compose.yaml runs, on the stand-in of their base.
 * @throws SetupFault where that Docker has other images of their names
 */
export async function makeServers(docker, network) {
  await demandFree(docker, Object.keys(SERVERS));
  for (const [name, files] of Object.entries(SERVERS)) {
    const context = mkdtempSync(join(tmpdir(), 'capstan-servers-'));
    try {
      for (const [file, content] of Object.entries(files)) writeFileSync(join(context, file), content);
      await timed(`Making ${name} of Debian's packages`, () =>
        docker(['build', '--network', network, '--label', labelOf(name), '--tag', name, context]),
      );
    } finally {
      rmSync(context, { recursive: true, force: true });
    }
  }
}
