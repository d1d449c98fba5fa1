import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { FORK_BOMB, largeEnvironment, sequence, until } from './contract-support.js';
import { isGone, members, signalHandle, waitGone } from './kill/handle.js';
import type { PreparedSandbox, SandboxDriver, SandboxExit, SandboxSpec } from './port.js';

export interface ContractTerms {
  /** Asked for once, when the tests begin: a daemon may have to be started first. */
  driver: SandboxDriver | (() => SandboxDriver);
  /** Whether the driver must enforce memory, pids and cpus here. */
  limits: boolean;
}

const UID = 234_567;

/** What every driver owes: `describe('docker', () => sandboxContract({ driver, limits: true }))`, with real sandboxes. */
export function sandboxContract({ driver: given, limits }: ContractTerms): void {
  let driver: SandboxDriver;
  let room: string;
  const open = new Set<PreparedSandbox>();

  beforeAll(() => {
    driver = typeof given === 'function' ? given() : given;
  });

  beforeEach(() => {
    room = mkdtempSync(join(tmpdir(), 'capstan-contract-'));
    if (process.getuid?.() === 0) chownSync(room, UID, UID);
  });

  afterEach(async () => {
    for (const sandbox of open) {
      await signalHandle(sandbox.handle);
      await waitGone(sandbox.handle, 5000);
      await sandbox.exited;
      await sandbox.dispose();
    }
    open.clear();
    rmSync(room, { recursive: true });
  });

  const prepare = async (script: string, changes: Partial<SandboxSpec> = {}): Promise<PreparedSandbox> => {
    const sandbox = await driver.prepare({
      agentId: 'contract',
      argv: ['/bin/sh', '-c', script],
      env: { PATH: '/usr/bin:/bin', HOME: '/tmp' },
      cwd: '/room',
      uid: UID,
      gid: UID,
      mounts: [{ source: room, target: '/room', mode: 'rw' }],
      limits: {},
      network: 'none',
      ...changes,
    });
    open.add(sandbox);
    return sandbox;
  };

  const run = async (
    script: string,
    changes?: Partial<SandboxSpec>,
  ): Promise<{ said: string; complained: string; exit: SandboxExit }> => {
    const sandbox = await prepare(script, changes);
    await sandbox.go();
    const [said, complained, exit] = await Promise.all([text(sandbox.stdout), text(sandbox.stderr), sandbox.exited]);
    return { said, complained, exit };
  };

  const started = async (script: string, changes?: Partial<SandboxSpec>): Promise<PreparedSandbox> => {
    const sandbox = await prepare(`${script}\necho started > /room/started; sleep 1000`, changes);
    await sandbox.go();
    await until(() => existsSync(join(room, 'started')));
    return sandbox;
  };

  const killAndSee = async (sandbox: PreparedSandbox): Promise<void> => {
    await signalHandle(sandbox.handle);
    expect(await waitGone(sandbox.handle, 15_000)).toBe(true);
    expect(members(sandbox.handle)).toEqual([]);
  };

  describe('start', () => {
    it('runs nothing of the agent before GO, and everything after it', async () => {
      const sandbox = await prepare('echo ran > ran');
      expect(members(sandbox.handle).length).toBeGreaterThan(0);
      await delay(30);
      expect(existsSync(join(room, 'ran'))).toBe(false);
      await sandbox.go();
      expect(await sandbox.exited).toEqual({ exitCode: 0, signal: null, outOfMemory: false });
      expect(readFileSync(join(room, 'ran'), 'utf8')).toBe('ran\n');
    });

    it('starts nothing at the end of file of the gate', async () => {
      const sandbox = await prepare('echo ran > ran');
      await sandbox.abort();
      expect((await sandbox.exited).exitCode).not.toBe(0);
      expect(isGone(sandbox.handle)).toBe(true);
      expect(existsSync(join(room, 'ran'))).toBe(false);
      await expect(sandbox.go()).rejects.toMatchObject({ code: 'sandbox-gone' });
    });

    it('starts nothing when the launcher dies between creation and GO', async () => {
      const sandbox = await prepare('echo ran > ran');
      process.kill(sandbox.handle.processes[0]?.pid ?? NaN, 'SIGKILL');
      await sandbox.exited;
      expect(await waitGone(sandbox.handle, 5000)).toBe(true);
      await expect(sandbox.go()).rejects.toMatchObject({ code: 'sandbox-gone' });
      expect(existsSync(join(room, 'ran'))).toBe(false);
    });

    it('hands through the exit code and both outputs, and no input', async () => {
      const said = { said: 'out\n', complained: 'err\n', exit: { exitCode: 7 } };
      expect(await run('echo out; echo err >&2; exit 7')).toMatchObject(said);
      expect((await run('read -r line; echo "$line"')).said).toBe('\n');
    });

    // Once the work of agents was lost on a busy machine: Node throws away what a child has said before anybody listens.
    it('keeps what was said before anybody listened, though the agent has ended', async () => {
      const sandbox = await prepare('echo one; echo two >&2');
      await sandbox.go();
      await sandbox.exited;
      await waitGone(sandbox.handle, 5000);
      expect([await text(sandbox.stdout), await text(sandbox.stderr)]).toEqual(['one\n', 'two\n']);
    });

    it('gives the environment to the agent as it is, whatever is in it', async () => {
      const value = `it's "quoted" $(echo run) \`echo run\` \\ \n$HOME  two`;
      const { said } = await run('printf "%s|" "$ODD"; unset ODD; env | cut -d= -f1 | sort | tr "\\n" " "', {
        env: { PATH: '/usr/bin:/bin', ODD: value },
      });
      expect(said).toBe(`${value}|PATH PWD `);
    });

    it('gives the whole of 128 KiB of environment, as much as an agent may have of secrets', async () => {
      const { script, env, digests } = largeEnvironment();
      const { said, exit } = await run(script, { env });
      expect([said.trim().split('\n'), exit.exitCode]).toEqual([digests, 0]);
    });

    it('loses nothing of 20 MB of output, though its reader is slow to begin', async () => {
      const bytes = 20_000_000;
      const sandbox = await prepare(`seq 1 3000000 | head -c ${String(bytes)}; echo end >&2`);
      await sandbox.go();
      await delay(200);
      const hash = createHash('sha256');
      let length = 0;
      const [complained] = await Promise.all([
        text(sandbox.stderr),
        (async () => {
          for await (const piece of sandbox.stdout) {
            length += (piece as Buffer).length;
            hash.update(piece as Buffer);
          }
        })(),
      ]);
      expect(complained).toBe('end\n');
      expect(length).toBe(bytes);
      expect(hash.digest('hex')).toBe(createHash('sha256').update(sequence(bytes)).digest('hex'));
      expect(await sandbox.exited).toMatchObject({ exitCode: 0 });
    }, 90_000);

    it('refuses a spec that it cannot honour, and leaves nothing behind', async () => {
      const missing = { source: join(room, 'missing'), target: '/missing', mode: 'ro' as const };
      await expect(prepare('true', { mounts: [missing] })).rejects.toMatchObject({ code: 'sandbox-failed' });
      await expect(prepare('true', { agentId: '../up' })).rejects.toMatchObject({ code: 'sandbox-spec' });
      await expect(prepare('true', { cwd: '/room/../..' })).rejects.toMatchObject({ code: 'sandbox-spec' });
      await expect(prepare('true\0')).rejects.toMatchObject({ code: 'sandbox-spec' });
      await expect(prepare('true', { env: { 'A=B': '' } })).rejects.toMatchObject({ code: 'sandbox-spec' });
      await expect(prepare('true', { limits: { pids: -1 } })).rejects.toMatchObject({ code: 'sandbox-spec' });
    });
  });

  describe('confinement', () => {
    it('runs under the uid it was told, without capabilities or a way to gain any', async () => {
      const { said } = await run('id -u; id -g; grep -E "^(Cap...|NoNewPrivs):" /proc/self/status | tr -s "\\t" " "');
      const own = process.getuid?.() === 0 ? UID : process.getuid?.();
      const none = ['Inh', 'Prm', 'Eff', 'Bnd', 'Amb'].map((set) => `Cap${set}: 0000000000000000`);
      const expected = [String(own), ...none, 'NoNewPrivs: 1'];
      for (const line of expected) expect(said.split('\n')).toContain(line);
    });

    it('has a read-only root; only its own mounts and memory-backed directories can be written', async () => {
      const tries = ['/x', '/usr/x', '/etc/x', '/dev/x', '/run/x', '/tmp/x', '/room/x', '/dev/shm/x', '/scratch/x'];
      const root = 'while read -r _ point _ options _; do [ $point = / ] && echo ${options%%,*}; done < /proc/mounts';
      const { said } = await run(`for f in ${tries.join(' ')}; do (echo > $f) 2>/dev/null && echo $f; done; ${root}`, {
        tmpfs: ['/scratch'],
      });
      expect(said.trim().split('\n').sort()).toEqual(['/dev/shm/x', '/room/x', '/scratch/x', '/tmp/x', 'ro']);
    });

    it('cannot write to a read-only mount, inside a writable one too', async () => {
      writeFileSync(join(room, 'metadata'), 'host');
      chmodSync(join(room, 'metadata'), 0o666); // So that only the mount can be what refuses.
      const mounts: SandboxSpec['mounts'] = [
        { source: join(room, 'metadata'), target: '/room/metadata', mode: 'ro' },
        { source: room, target: '/room', mode: 'rw' },
      ];
      const { said } = await run('(echo agent > metadata) 2>/dev/null || echo refused; cat metadata', { mounts });
      expect(said).toBe('refused\nhost');
    });

    it('sees no file, process, name, environment or open descriptor of the host', async () => {
      const canary = `${tmpdir()}/capstan-canary-${String(process.pid)}`;
      writeFileSync(canary, 'secret');
      process.env['CAPSTAN_CANARY'] = 'secret';
      try {
        const { said } = await run(
          `cat ${canary} /etc/shadow /root/.profile /etc/resolv.conf 2>/dev/null; ls /home /root /srv /var /sys 2>/dev/null
           env; cat /etc/passwd /etc/hosts; hostname; tr '\\0\\n' '  ' < /proc/1/cmdline | sed 's/capstan-gate.*//'; echo
           for f in /proc/[0-9]*; do echo pid; done
           for f in /proc/self/fd/*; do case $(readlink $f) in ''|/dev/null|/proc/*|pipe:*|socket:*|/run/capstan-gate/*) ;; *) echo leak $(readlink $f);; esac; done`,
        );
        expect(said).not.toMatch(/secret|CANARY|leak|nameserver/);
        expect(said).not.toContain(room);
        expect(said.match(/^pid$/gm)?.length).toBeLessThan(6);
      } finally {
        delete process.env['CAPSTAN_CANARY'];
        rmSync(canary);
      }
    });

    it('has no network but its own loopback, and no family that a network namespace does not confine', async () => {
      await using server = createServer().listen(0, '127.0.0.1');
      await once(server, 'listening');
      const address = server.address();
      const port = typeof address === 'object' ? address?.port : 0;
      const script = `
        const net = require('node:net');
        const attempt = (options) => new Promise((done) => net.connect(options).on('error', (e) => done(e.code)).on('connect', () => done('CONNECTED')));
        (async () => console.log(Object.keys(require('node:os').networkInterfaces()).join(),
          await attempt({ host: '127.0.0.1', port: ${String(port)} }), await attempt({ host: '1.1.1.1', port: 80 })))();`;
      const node = { source: process.execPath, target: '/opt/node', mode: 'ro' as const };
      const room_ = { source: room, target: '/room', mode: 'rw' as const };
      const { said, complained } = await run('', { argv: ['/opt/node', '-e', script], mounts: [node, room_] });
      expect({ said, complained }).toEqual({ said: 'lo ECONNREFUSED ENETUNREACH\n', complained: '' });
    });

    it('reaches a socket in its own mounts, though they are read-only, and no other of the host', async () => {
      const directory = join(room, 'gateway');
      mkdirSync(directory);
      await using gateway = createServer((socket) => socket.end('model')).listen(join(directory, 'gateway.sock'));
      await once(gateway, 'listening');
      chmodSync(join(directory, 'gateway.sock'), 0o777);
      const script = `
        const net = require('node:net');
        const attempt = (path) => new Promise((done) => net.connect(path).on('error', (e) => done(e.code)).on('data', (said) => done(String(said))));
        (async () => { for (const path of ['/run/gateway/gateway.sock', '/var/run/docker.sock', '/run/containerd/containerd.sock', '/run/dbus/system_bus_socket', '\\0/tmp/.X11-unix/X0']) console.log(await attempt(path)); })();`;
      const { said, complained } = await run('', {
        argv: ['/opt/node', '-e', script],
        mounts: [
          { source: process.execPath, target: '/opt/node', mode: 'ro' },
          { source: room, target: '/room', mode: 'rw' },
          { source: directory, target: '/run/gateway', mode: 'ro' },
        ],
      });
      expect(complained).toBe('');
      expect(said.trim().split('\n')).toEqual(['model', 'ENOENT', 'ENOENT', 'ENOENT', 'ECONNREFUSED']);
    });

    it('cannot make namespaces, mount, or enter what is not its own', async () => {
      const ways = [
        'unshare -U true',
        'unshare -m true',
        'mount -t tmpfs none /tmp',
        'nsenter -t 1 -m true',
        'chroot / true',
      ];
      const { said } = await run(ways.map((way) => `${way} 2>/dev/null && echo "${way}"`).join('; ') + '; true');
      expect(said).toBe('');
    });
  });

  describe('kill', () => {
    it('ends an agent that ignores every signal it can', async () => {
      await killAndSee(await started('trap "" TERM INT HUP QUIT USR1 USR2'));
    });

    it('ends what forked twice, left its session and closed its outputs', async () => {
      const sandbox = await started(
        'for i in 1 2 3; do (setsid sh -c "trap : TERM; (sleep 1000 & sleep 1000) >/dev/null 2>&1 </dev/null" &) & done; sleep 0.1',
      );
      expect(members(sandbox.handle).length).toBeGreaterThan(6);
      await killAndSee(sandbox);
    });

    it('leaves nothing behind when the agent’s first process ends and others do not', async () => {
      const sandbox = await prepare('setsid sleep 1000 >/dev/null 2>&1 & setsid sleep 1000 & exit 3');
      await sandbox.go();
      expect((await sandbox.exited).exitCode).toBe(3);
      expect(await waitGone(sandbox.handle, 5000)).toBe(true);
    });

    it('says that an agent lives as long as one process of it does', async () => {
      const sandbox = await started('');
      expect(isGone(sandbox.handle)).toBe(false);
      expect(await waitGone(sandbox.handle, 30)).toBe(false);
      await expect(sandbox.dispose()).rejects.toMatchObject({ code: 'sandbox-busy' });
      await killAndSee(sandbox);
    });

    it('is gone only when registered processes, control group and PID namespace all are', async () => {
      const { handle } = await started('');
      const nothing = { ...handle, processes: [], pidNamespace: 0n, cgroup: '' };
      expect(isGone(nothing)).toBe(true);
      expect(isGone({ ...nothing, processes: handle.processes })).toBe(false);
      expect(isGone({ ...nothing, pidNamespace: handle.pidNamespace })).toBe(false);
      expect(isGone({ ...nothing, cgroup: handle.cgroup })).toBe(handle.cgroup === '');
    });

    it('never signals a process that took over a pid, nor one in a namespace that took over an inode', async () => {
      const other = await started('');
      const { processes } = other.handle;
      expect(processes.length).toBeGreaterThan(0);
      const stale = {
        ...other.handle,
        cgroup: '',
        processes: processes.map(({ pid, startTicks }) => ({ pid, startTicks: startTicks - 1n })),
      };
      expect(isGone(stale)).toBe(true);
      await signalHandle(stale);
      await signalHandle({ ...other.handle, bootId: 'another-boot' });
      await delay(20);
      expect(isGone(other.handle)).toBe(false);
    });
  });

  describe('what its owner left', () => {
    it('is found and ended by the agent’s id, whether it waits for GO or runs', async () => {
      const [agentId, other] = [`left-${randomUUID()}`, `other-${randomUUID()}`];
      const waiting = await prepare('true', { agentId });
      const running = await started('trap "" TERM', { agentId });
      const others = await prepare('true', { agentId: other });
      const canBeFound = waiting.handle.cgroup !== '';
      const agents = await driver.agentsWithSandboxes();
      expect(agents.filter((it) => it === agentId || it === other).sort()).toEqual(canBeFound ? [agentId, other] : []);
      const found = await driver.removeLeftovers(agentId);
      if (!canBeFound) return;
      for (const { handle } of [waiting, running]) {
        expect(found).toContain(handle.processes.at(-1)?.pid);
        expect(isGone(handle)).toBe(true);
      }
      expect(isGone(others.handle)).toBe(false);
      expect(await driver.agentsWithSandboxes()).not.toContain(agentId);
      expect(await driver.removeLeftovers(agentId)).toEqual([]);
    });
  });

  it('says that nobody bounds what it writes to the disk', async () => {
    expect((await prepare('true', { limits: { diskBytes: 1 << 30 } })).enforced.disk).toBe(false);
  });

  if (!limits) return;

  describe('limits', () => {
    it('says what is enforced, and only what was asked for', async () => {
      const all = await prepare('true', { limits: { memoryBytes: 64 << 20, pids: 64, cpus: 0.5 } });
      expect(all.enforced).toMatchObject({ memory: true, pids: true, cpus: true, seccomp: true });
      expect((await prepare('true')).enforced).toMatchObject({ memory: false, pids: false, cpus: false });
    });

    it('bounds a fork bomb, and kills it', async () => {
      // A shell that may not fork ends itself, so how many are left over in the end is chance: the refusal is the proof.
      const sandbox = await prepare(FORK_BOMB, { limits: { pids: 40 } });
      let complaint = '';
      let most = 0;
      sandbox.stderr.on('data', (piece: Buffer) => (complaint = (complaint + piece.toString()).slice(-4096)));
      await sandbox.go();
      await until(() => {
        most = Math.max(most, members(sandbox.handle).length);
        return /fork/i.test(complaint);
      }, 20_000);
      expect(most).toBeLessThanOrEqual(40);
      expect(isGone(sandbox.handle)).toBe(false);
      await killAndSee(sandbox);
    }, 90_000);

    it('ends what takes more memory than allowed, and says that it was that', async () => {
      const sandbox = await prepare('head -c 200000000 /dev/zero | tail | wc -c; exit 3', {
        limits: { memoryBytes: 48 << 20 },
      });
      await sandbox.go();
      sandbox.stderr.resume();
      expect((await text(sandbox.stdout)).trim()).not.toBe('200000000');
      expect(await sandbox.exited).toMatchObject({ outOfMemory: true });
      expect((await run('exit 3', { limits: { memoryBytes: 48 << 20 } })).exit.outOfMemory).toBe(false);
    });

    it('gives no more processor time than allowed', async () => {
      const { said } = await run('timeout 1 sh -c "while :; do :; done"; times', { limits: { cpus: 0.2 } });
      const seconds = /^0m([\d.]+)s 0m([\d.]+)s$/m.exec(said.split('\n')[1] ?? '');
      expect(Number(seconds?.[1]) + Number(seconds?.[2])).toBeLessThan(0.7);
    });
  });
}
