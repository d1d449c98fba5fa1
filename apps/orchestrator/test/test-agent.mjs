// The agent of the orchestrator's own tests: what it does is named by its first work item.
import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync, truncateSync, writeFileSync } from 'node:fs';

const task = JSON.parse(readFileSync('/run/capstan/task.json', 'utf8'));
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const log = (text) => say({ type: 'log', source: 'agent', text });

const behaviours = {
  write() {
    log(execFileSync('git', ['status', '--short', '--branch'], { encoding: 'utf8' }));
    writeFileSync('done.md', `# ${task.agentId}\n`);
    say({ type: 'submit', summary: 'Write done.md' });
  },
  large() {
    writeFileSync('noise', randomBytes(3_000_000));
    say({ type: 'submit', summary: 'Write noise' });
  },
  // Larger than what may be committed, of nothing but zeros.
  huge() {
    writeFileSync('huge', '');
    truncateSync('huge', 2 ** 31);
    writeFileSync('half.md', 'half of it\n');
    say({ type: 'submit', summary: 'Write huge' });
  },
  // Writes for as long as it is let, a file of a megabyte at a time; it takes its work with it.
  fill() {
    writeFileSync('half.md', 'half of it\n');
    const files = { count: 0 };
    setInterval(() => writeFileSync(`noise${String(files.count++)}`, randomBytes(1 << 20)), 100);
  },
  names() {
    for (const name of ['line\nend', Buffer.from('caf\xe9', 'latin1'), '-option', 'tab\t"quote"']) {
      writeFileSync(name, 'x\n');
    }
    say({ type: 'submit', summary: 'Write names' });
  },
  idle() {
    writeFileSync('half.md', 'half of it\n');
    log('working');
    setInterval(() => undefined, 1000);
  },
  // Uses a processor, and holds 64 MiB: half of it as its own memory, half as a file that lies in memory.
  spin() {
    const held = Buffer.alloc(32 << 20, 1);
    writeFileSync('/tmp/held', held);
    log('working');
    for (;;) held[0] += 1;
  },
  stubborn() {
    writeFileSync('half.md', 'half of it\n');
    process.on('SIGTERM', () => undefined);
    // Two forks away from us, in a session of its own.
    const script = 'setsid sh -c "trap : TERM HUP INT; while :; do sleep 1; done" & sleep 1000';
    spawn('sh', ['-c', script], { detached: true, stdio: 'inherit' });
    log('working');
    setInterval(() => undefined, 1000);
  },
  crash() {
    throw new Error('on purpose');
  },
  quiet() {},
  nothing() {
    say({ type: 'submit', summary: 'Nothing to do' });
  },
  iterations() {
    say({ type: 'end', reason: 'agent-iterations' });
    process.exitCode = 2;
  },
  noise() {
    for (let line = 0; line < 20_000; line += 1) process.stdout.write(`${'x'.repeat(500)}\u001b[2J\n`);
    process.stdout.write('x'.repeat(1_000_000));
  },
  environment() {
    log(
      JSON.stringify({
        environment: process.env,
        uid: process.getuid(),
        files: execFileSync('ls', ['/'], { encoding: 'utf8' }),
      }),
    );
  },
};
behaviours[task.workItems[0]]();
