import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, openSync } from 'node:fs';
import { chmod, chown, mkdir, rm, writeFile } from 'node:fs/promises';
import { Socket } from 'node:net';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { promisify } from 'node:util';
import type { Mount, SandboxSpec } from '../port.js';
import { SandboxFault } from '../sandbox-fault.js';
import { identityFiles } from '../spec/identity-files.js';

const run = promisify(execFile);
const READY_PATIENCE_MS = 20_000;
const INSIDE = '/run/capstan-gate';

/**
 * First process inside, under Docker's init. It starts the agent on an explicit GO and on nothing else: at the end of file,
 * which is what a dead orchestrator looks like, it exits.
 *
 * Each pipe is opened for both directions first, because to open one for reading alone would wait for a writer, who may be
 * dead. The outputs stay so: without a reader the agent then waits, and nothing that it said is lost. What follows GO is the
 * agent's environment, with a last line that says that it came whole: Docker would keep it on its disk.
 */
const GATE = `
_gate=${INSIDE}
exec 3<>$_gate/go 4<$_gate/go 3>&- 5<>$_gate/out 6<>$_gate/err 9<>$_gate/ready
echo READY >&9
exec 9>&-
read -r _word <&4 || exit 125
[ "$_word" = GO ] || exit 125
_given=$(cat <&4)
unset HOSTNAME HOME PATH PWD OLDPWD _whole
eval "$_given"
[ "$_whole" = yes ] || exit 125
exec 0</dev/null 1>&5 2>&6 4<&- 5>&- 6>&-
exec "$@"`;

/** In place of the one that Docker copies from the host: it names the host's network. */
const NO_RESOLVER = { target: '/etc/resolv.conf', text: '' };

/** What Docker runs: the gate, which becomes the agent. */
export function gateCommand(argv: readonly string[]): string[] {
  return ['/bin/sh', '-c', GATE, 'capstan-gate', ...argv];
}

interface Outputs {
  stdout: Readable;
  stderr: Readable;
}

/** The host's side of one gate: named pipes in a directory that is mounted into the sandbox. Docker is not on their way. */
export class Gate {
  private outputs: Outputs | undefined;
  /** Held, so that the gate waits; nothing reads or writes it. Undefined once it is shut. */
  private goHold: number | undefined;
  private goPipe: Socket | undefined;
  private readyPipe: Socket | undefined;

  private constructor(
    private readonly directory: string,
    readonly mounts: readonly Mount[],
  ) {}

  /** @param directory made here, and removed by `remove`. */
  static async make(directory: string, spec: SandboxSpec, uid: number, gid: number): Promise<Gate> {
    const isRoot = process.getuid?.() === 0;
    await mkdir(directory, { mode: 0o700 });
    try {
      const pipes = ['go', 'ready', 'out', 'err'].map((name) => join(directory, name));
      await run('mkfifo', ['-m', '600', ...pipes]);
      const files = [...identityFiles(spec, uid, gid), NO_RESOLVER].map((file) => ({
        ...file,
        source: join(directory, nameOf(file)),
      }));
      for (const { source, text } of files) {
        await writeFile(source, text, { mode: 0o444 });
        // The process's own mask may have taken bits away.
        await chmod(source, 0o444);
      }
      if (isRoot) for (const path of [directory, ...pipes]) await chown(path, uid, gid);
      const mounts: Mount[] = [
        { source: directory, target: INSIDE, mode: 'ro' },
        ...files.map(({ source, target }): Mount => ({ source, target, mode: 'ro' })),
      ];
      const gate = new Gate(directory, mounts);
      gate.goHold = openSync(join(directory, 'go'), constants.O_RDWR | constants.O_NONBLOCK);
      gate.readyPipe = pipeAt(join(directory, 'ready'), constants.O_RDWR);
      return gate;
    } catch (error) {
      await rm(directory, { recursive: true, force: true });
      throw error;
    }
  }

  /** The gate of a sandbox whose owner has died after GO. What that one had not read is still in the pipes. */
  static adopt(directory: string): { gate: Gate; outputs: Outputs } {
    const gate = new Gate(directory, []);
    return { gate, outputs: gate.openOutputs() };
  }

  /** Resolves once the gate inside waits for GO. Not before that are the outputs read: without a writer they would be at their end. */
  async ready(gone: Promise<unknown>): Promise<Outputs> {
    const deadline = AbortSignal.timeout(READY_PATIENCE_MS);
    const { readyPipe } = this;
    if (readyPipe === undefined) throw new SandboxFault('sandbox-gone', 'The agent runs already.');
    const said = once(readyPipe, 'data', { signal: deadline }).then(([bytes]: unknown[]) => String(bytes).trim());
    const word = await Promise.race([said, gone.then(() => 'ended before it was ready')]);
    said.catch(() => undefined);
    readyPipe.destroy();
    if (word !== 'READY') throw new SandboxFault('sandbox-failed', 'The sandbox could not be made.', word);
    return this.openOutputs();
  }

  /** GO, and the environment. Rejects where the pipe is gone. */
  async open(env: Readonly<Record<string, string>>): Promise<void> {
    const lines = Object.entries(env).map(([name, value]) => `export ${name}=${quoted(value)}\n`);
    // A pipe that is open for both directions would read what it has written itself, and never hear that the reader is gone.
    const pipe = pipeAt(join(this.directory, 'go'), constants.O_WRONLY);
    this.goPipe = pipe;
    this.dropHold();
    try {
      await new Promise<void>((resolve, reject) => {
        pipe.once('close', () => reject(new Error('the gate is shut')));
        pipe.write(['GO\n', ...lines, '_whole=yes\n'].join(''), (error) => (error ? reject(error) : resolve()));
      });
    } finally {
      pipe.destroy();
    }
  }

  /** The end of file: whoever waits inside exits. */
  shut(): void {
    this.dropHold();
    this.goPipe?.destroy();
    this.readyPipe?.destroy();
  }

  private openOutputs(): Outputs {
    const output = (name: string): Readable => pipeAt(join(this.directory, name), constants.O_RDONLY);
    this.outputs = { stdout: output('out'), stderr: output('err') };
    return this.outputs;
  }

  private dropHold(): void {
    if (this.goHold !== undefined) closeSync(this.goHold);
    this.goHold = undefined;
  }

  /** Removes the pipes, once nobody is left to write into them. */
  async remove(): Promise<void> {
    this.shut();
    // One that is being read ends by itself, with its last byte.
    const { outputs } = this;
    for (const output of outputs === undefined ? [] : [outputs.stdout, outputs.stderr])
      if (output.readableFlowing === null) output.destroy();
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** A shell's single quotes take everything literally but themselves. */
function quoted(value: string): string {
  return `'${value.replaceAll("'", `'\\''`)}'`;
}

function nameOf({ target }: { target: string }): string {
  return target.replace('/etc/', '');
}

function pipeAt(path: string, mode: number): Socket {
  const fd = openSync(path, mode | constants.O_NONBLOCK);
  const isWritten = mode === constants.O_WRONLY;
  const socket = new Socket({ fd, readable: !isWritten, writable: isWritten });
  // An end that is gone is said by the container's own end.
  socket.on('error', () => undefined);
  return socket;
}
