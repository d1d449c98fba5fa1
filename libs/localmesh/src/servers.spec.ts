import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { Client } from 'pg';
import { startPostgres } from './postgres/postgres.js';
import { childEnv } from './process/child-env.js';
import { ProcessRegister } from './process/process-register.js';
import { stateRoot } from './state/state-dir.js';
import { sharedValkey, startValkey } from './valkey/valkey.js';

jest.setTimeout(60_000);

describe('the servers of a mesh', () => {
  let directory: string;
  let register: ProcessRegister;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'capstan-servers-'));
    chmodSync(directory, 0o711);
    register = new ProcessRegister(join(directory, 'processes.json'));
  });
  afterEach(async () => {
    await register.endAll();
    rmSync(directory, { recursive: true, force: true });
  });

  it('PostgreSQL keeps what was committed when it is killed, and is not run by root', async () => {
    const { url, process: server } = await startPostgres({
      dir: join(directory, 'postgres'),
      binariesRoot: stateRoot(),
      logFile: join(directory, 'postgres.log'),
      env: childEnv(),
      register,
    });
    const query = async (text: string): Promise<unknown[]> => {
      const client = new Client({ connectionString: url });
      await client.connect();
      try {
        return (await client.query(text)).rows;
      } finally {
        await client.end();
      }
    };
    await query('create table kept (n int)');
    await query('insert into kept values (7)');
    expect(await query("select rolsuper from pg_roles where rolname = 'capstan'")).toHaveLength(1);
    const before = server.pid;
    server.kill('SIGKILL');
    for (;;) {
      if (server.pid !== undefined && server.pid !== before && (await server.waitReady(20_000))) break;
      await new Promise(setImmediate);
    }
    expect(await query('select n from kept')).toEqual([{ n: 7 }]);
    await server.stop();
  });

  it('Valkey gives each role its own keys and no other, and no one the administration', async () => {
    const valkey = await startValkey({
      instanceId: 'quay',
      dir: join(directory, 'valkey'),
      logFile: join(directory, 'valkey.log'),
      env: childEnv(),
      register,
    });
    const clients = [clientOf(valkey.urls.spoke), clientOf(valkey.urls.orchestrator)] as const;
    const [spoke, orchestrator] = clients;
    try {
      await spoke.set('spoke:a', '1');
      await orchestrator.set('bull:a', '1');
      expect(await orchestrator.eval('return redis.call("get", KEYS[1])', 1, 'bull:a')).toBe('1');
      const attempts = [
        () => spoke.get('bull:a'),
        () => spoke.get('orchestrator:a'),
        () => spoke.eval('return redis.call("get", "bull:a")', 0),
        () => orchestrator.get('spoke:a'),
        () => spoke.call('CONFIG', 'GET', '*'),
        () => spoke.call('FLUSHALL'),
        () => spoke.call('SHUTDOWN'),
      ];
      for (const attempt of attempts) await expect(attempt()).rejects.toThrow(/NOPERM|can't access/);
      expect(await orchestrator.info('memory')).toContain('maxmemory_policy:noeviction');
    } finally {
      for (const client of clients) client.disconnect();
    }
  });

  it('Valkey has every transaction back when it is killed, and lets nobody in without a name', async () => {
    const valkey = await startValkey({
      instanceId: 'quay',
      dir: join(directory, 'valkey'),
      logFile: join(directory, 'valkey.log'),
      env: childEnv(),
      register,
    });
    const spoke = clientOf(valkey.urls.spoke);
    const nobody = connect(join(directory, 'valkey', 'valkey.sock'));
    try {
      nobody.write('GET spoke:a\r\n');
      expect(String(await once(nobody, 'data'))).toContain('-NOAUTH');
      nobody.write('AUTH default anything\r\n');
      expect(String(await once(nobody, 'data'))).toContain('-WRONGPASS');
      await spoke.multi().set('spoke:a', '1').set('spoke:b', '2').exec();
      const put = 'redis.call("set", KEYS[1], "3") redis.call("set", KEYS[2], "4")';
      await spoke.eval(put, 2, 'spoke:c', 'spoke:d');
      const closed = once(spoke, 'close');
      valkey.process?.kill('SIGKILL');
      await closed;
      // It waits until the server is back.
      expect(await spoke.mget('spoke:a', 'spoke:b', 'spoke:c', 'spoke:d')).toEqual(['1', '2', '3', '4']);
    } finally {
      nobody.destroy();
      spoke.disconnect();
      await valkey.process?.stop();
    }
  });

  it('a server that somebody else runs is shared by database', () => {
    expect(sharedValkey('redis://host:1/3', 2).urls.spoke).toBe('redis://host:1/5');
    expect(sharedValkey('unix:///run/v.sock', 1).urls.orchestrator).toBe('unix:///run/v.sock?db=1');
  });
});

function clientOf(url: string): Redis {
  const { username, password, pathname } = new URL(url.replace('@/', '@host/'));
  const client = new Redis({ path: pathname, username, password });
  client.on('error', () => undefined);
  return client;
}
