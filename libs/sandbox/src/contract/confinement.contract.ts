import { once } from 'node:events';
import { chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SandboxSpec } from '../port.js';
import { type ContractRoom, UID } from './room.js';

/** What an agent cannot see, reach or do. */
export function confinementContract(room: ContractRoom): void {
  describe('confinement', () => {
    it('runs under the uid it was told, without capabilities or a way to gain any', async () => {
      const { said } = await room.run(
        'id -u; id -g; grep -E "^(Cap...|NoNewPrivs):" /proc/self/status | tr -s "\\t" " "',
      );
      const own = process.getuid?.() === 0 ? UID : process.getuid?.();
      const none = ['Inh', 'Prm', 'Eff', 'Bnd', 'Amb'].map((set) => `Cap${set}: 0000000000000000`);
      const expected = [String(own), ...none, 'NoNewPrivs: 1'];
      for (const line of expected) expect(said.split('\n')).toContain(line);
    });

    it('has a read-only root; only its own mounts and memory-backed directories can be written', async () => {
      const tries = ['/x', '/usr/x', '/etc/x', '/dev/x', '/run/x', '/tmp/x', '/room/x', '/dev/shm/x', '/scratch/x'];
      const root = 'while read -r _ point _ options _; do [ $point = / ] && echo ${options%%,*}; done < /proc/mounts';
      const { said } = await room.run(
        `for f in ${tries.join(' ')}; do (echo > $f) 2>/dev/null && echo $f; done; ${root}`,
        {
          tmpfs: ['/scratch'],
        },
      );
      expect(said.trim().split('\n').sort()).toEqual(['/dev/shm/x', '/room/x', '/scratch/x', '/tmp/x', 'ro']);
    });

    it('cannot write to a read-only mount, inside a writable one too', async () => {
      writeFileSync(join(room.path, 'metadata'), 'host');
      chmodSync(join(room.path, 'metadata'), 0o666); // So that only the mount can be what refuses.
      const mounts: SandboxSpec['mounts'] = [
        { source: join(room.path, 'metadata'), target: '/room/metadata', mode: 'ro' },
        { source: room.path, target: '/room', mode: 'rw' },
      ];
      const { said } = await room.run('(echo agent > metadata) 2>/dev/null || echo refused; cat metadata', { mounts });
      expect(said).toBe('refused\nhost');
    });

    it('sees no file, process, name, environment or open descriptor of the host', async () => {
      const canary = `${tmpdir()}/capstan-canary-${String(process.pid)}`;
      writeFileSync(canary, 'secret');
      process.env['CAPSTAN_CANARY'] = 'secret';
      try {
        const { said } = await room.run(
          `cat ${canary} /etc/shadow /root/.profile /etc/resolv.conf 2>/dev/null; ls /home /root /srv /var /sys 2>/dev/null
           env; cat /etc/passwd /etc/hosts; hostname; tr '\\0\\n' '  ' < /proc/1/cmdline | sed 's/capstan-gate.*//'; echo
           for f in /proc/[0-9]*; do echo pid; done
           for f in /proc/self/fd/*; do case $(readlink $f) in ''|/dev/null|/proc/*|pipe:*|socket:*|/run/capstan-gate/*) ;; *) echo leak $(readlink $f);; esac; done`,
        );
        expect(said).not.toMatch(/secret|CANARY|leak|nameserver/);
        expect(said).not.toContain(room.path);
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
      const room_ = { source: room.path, target: '/room', mode: 'rw' as const };
      const { said, complained } = await room.run('', { argv: ['/opt/node', '-e', script], mounts: [node, room_] });
      expect({ said, complained }).toEqual({ said: 'lo ECONNREFUSED ENETUNREACH\n', complained: '' });
    });

    it('reaches a socket in its own mounts, though they are read-only, and no other of the host', async () => {
      const directory = join(room.path, 'gateway');
      mkdirSync(directory);
      await using gateway = createServer((socket) => socket.end('model')).listen(join(directory, 'gateway.sock'));
      await once(gateway, 'listening');
      chmodSync(join(directory, 'gateway.sock'), 0o777);
      const script = `
        const net = require('node:net');
        const attempt = (path) => new Promise((done) => net.connect(path).on('error', (e) => done(e.code)).on('data', (said) => done(String(said))));
        (async () => { for (const path of ['/run/gateway/gateway.sock', '/var/run/docker.sock', '/run/containerd/containerd.sock', '/run/dbus/system_bus_socket', '\\0/tmp/.X11-unix/X0']) console.log(await attempt(path)); })();`;
      const { said, complained } = await room.run('', {
        argv: ['/opt/node', '-e', script],
        mounts: [
          { source: process.execPath, target: '/opt/node', mode: 'ro' },
          { source: room.path, target: '/room', mode: 'rw' },
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
      const { said } = await room.run(ways.map((way) => `${way} 2>/dev/null && echo "${way}"`).join('; ') + '; true');
      expect(said).toBe('');
    });
  });
}
