import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, lstatSync, readlinkSync } from 'node:fs';
import { finished } from 'node:stream/promises';
import { text } from 'node:stream/consumers';
import { SandboxFault } from '../sandbox-fault.js';
import type { Daemon } from './daemon.js';
import { rootFiles } from './root-files.js';

const REPOSITORY = 'capstan-agent';
/** What the tags of local images begin with: so they are told from images that were built. */
const PREFIX = 'local-';

/** Raised when the same files make another image. */
const RECIPE = '1';

export interface LocalImageOptions {
  /** Further programs of this host, by name or absolute path. */
  programs?: readonly string[];
}

/**
 * Name of an image that holds this host's own programs, for where no registry can be reached: git, a shell, its tools, and the
 * libraries that they need, about 40 MB. Node is not in it: the runtimes bring their own. It is named by what is in it, so that the second call
 * finds it there.
 *
 * @throws SandboxFault `sandbox-failed`
 */
export async function provideLocalImage(daemon: Daemon, options: LocalImageOptions = {}): Promise<string> {
  const files = await rootFiles(options.programs);
  const tag = `${PREFIX}${(await digestOf(files)).slice(0, 24)}`;
  const name = `${REPOSITORY}:${tag}`;
  if (await daemon.hasImage(name)) return name;
  const archive = spawn('tar', [...TAR, '--files-from', '-'], { stdio: ['pipe', 'pipe', 'pipe'] });
  const said = text(archive.stderr);
  const ended = new Promise<number | null>((done) => archive.once('close', done).once('error', () => done(null)));
  archive.stdin.on('error', () => undefined);
  archive.stdin.end(files.map((file) => `.${file}\0`).join(''));
  try {
    await daemon.importImage(archive.stdout, REPOSITORY, tag);
  } catch (error) {
    archive.kill('SIGKILL');
    throw error;
  }
  const code = await ended;
  if (code !== 0) {
    await daemon.removeImage(name);
    throw new SandboxFault('sandbox-failed', 'The image of agents cannot be made.', (await said).slice(0, 2000));
  }
  return name;
}

/** Owned by root, without a set-uid bit, and the same bytes whenever the files are the same. */
const TAR = [
  ...['--create', '--directory=/', '--no-recursion', '--null', '--numeric-owner', '--owner=0', '--group=0'],
  ...['--mode=u-s,g-ws,o-w', '--mtime=@0', '--sort=none', '--format=gnu'],
];

/** Over names, kinds and contents. */
async function digestOf(files: readonly string[]): Promise<string> {
  const hash = createHash('sha256').update(RECIPE);
  for (const file of files) {
    const stat = lstatSync(file);
    hash.update(`\0${file}\0${String(stat.mode)}\0${String(stat.size)}\0`);
    if (stat.isSymbolicLink()) hash.update(readlinkSync(file));
    else if (stat.isFile()) {
      const content = createReadStream(file, { highWaterMark: 1 << 20 });
      content.on('data', (piece) => hash.update(piece));
      await finished(content);
    }
  }
  return hash.digest('hex');
}
