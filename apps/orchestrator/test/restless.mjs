// Changes one thing in its work tree, back and forth, as fast as it can, and says so every hundred laps. It runs in a sandbox.
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  linkSync,
  mkdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';

const [, , what, host, marker] = process.argv;
const ARMED = `[core]\n\tfsmonitor = touch ${marker}\n\thooksPath = ${host}\n\tworktree = ${host}\n[filter "x"]\n\tclean = touch ${marker}\n`;

/** Puts something new in the place of what is there, in one step where the kernel can. */
function replace(name, make) {
  make(`${name}.new`);
  renameSync(`${name}.new`, name);
}
/** As long as the host's secret: git reads no more than the length that it saw. */
const file = (name) => replace(name, (at) => writeFileSync(at, 'the words of the agent\n'));
const link = (name, target) => replace(name, (at) => symlinkSync(target, at));

const FILES = ['file.txt', 'src/a.ts', '.gitattributes', '.gitignore'];
const laps = {
  files() {
    for (const name of FILES) link(name, `${host}/secret.txt`);
    for (const name of FILES) file(name);
  },
  directories() {
    renameSync('deep', '/workspace/.away');
    symlinkSync(host, 'deep');
    unlinkSync('deep');
    renameSync('/workspace/.away', 'deep');
  },
  repositories() {
    replace('inner/.git', (at) => writeFileSync(at, `gitdir: ${host}\n`));
    link('inner/.git', host);
    unlinkSync('inner/.git');
    renameSync('armed', 'inner/.git');
    renameSync('inner/.git', 'armed');
    link('.gitmodules', `${host}/secret.txt`);
    file('.gitmodules');
  },
  names() {
    renameSync('name', '.GIT');
    renameSync('.GIT', '--exec=touch');
    renameSync('--exec=touch', 'git~1');
    renameSync('git~1', 'line\nend');
    renameSync('line\nend', 'name');
  },
  kinds() {
    replace('pipe', (at) => linkSync('fifo', at));
    file('pipe');
    truncateSync('grows', 8 * 1024 * 1024);
    truncateSync('grows', 1);
  },
};

writeFileSync('steady.md', 'written once\n');
for (const directory of ['src', 'deep', 'inner', 'name']) mkdirSync(directory, { recursive: true });
for (const name of ['deep/secret.txt', 'inner/x', 'name/config', 'grows']) if (!existsSync(name)) file(name);
if (what === 'kinds') execFileSync('mkfifo', ['fifo']);
if (what === 'repositories') {
  for (const directory of ['armed/objects', 'armed/refs']) mkdirSync(directory, { recursive: true });
  writeFileSync('armed/HEAD', 'ref: refs/heads/main\n');
  writeFileSync('armed/config', ARMED);
  rmSync('inner/.git', { force: true });
}
for (let lap = 0; ; lap += 1) {
  laps[what]();
  if (lap % 100 === 0) process.stdout.write('.');
}
