import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { constants, openSync } from 'node:fs';
import { chmod, chown, mkdir, rm, writeFile } from 'node:fs/promises';
import { Socket } from 'node:net';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { Writable } from 'node:stream';
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
if [ -p $_gate/in ]; then exec 7<>$_gate/in 8<$_gate/in 7>&-; else exec 8</dev/null; fi
echo READY >&9
exec 9>&-
read -r _word <&4 || exit 125
[ "$_word" = GO ] || exit 125
_given=$(cat <&4)
unset HOSTNAME HOME PATH PWD OLDPWD _whole
eval "$_given"
[ "$_whole" = yes ] || exit 125
exec 0<&8 1>&5 2>&6 4<&- 5>&- 6>&- 8<&-
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
  readonly stdin?: Writable;
  private outputs: Outputs | undefined;
  private readonly goPipe: Socket;
  private readonly readyPipe: Socket;

  private constructor(
    private readonly directory: string,
    readonly mounts: readonly Mount[],
    hasInput: boolean,
  ) {
    const open = (name: string): Socket => pipeAt(join(directory, name), constants.O_RDWR);
    this.goPipe = open('go');
    this.readyPipe = open('ready');
    if (hasInput) this.stdin = endingWithItself(open('in'));
  }

  /** @param directory made here, and removed by `remove`. */
  static async make(directory: string, spec: SandboxSpec, uid: number, gid: number): Promise<Gate> {
    const isRoot = process.getuid?.() === 0;
    const hasInput = spec.stdin === 'pipe';
    await mkdir(directory, { mode: 0o700 });
    try {
      const pipes = ['go', 'ready', 'out', 'err', ...(hasInput ? ['in'] : [])].map((name) => join(directory, name));
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
      return new Gate(directory, mounts, hasInput);
    } catch (error) {
      await rm(directory, { recursive: true, force: true });
      throw error;
    }
  }

  /** Resolves once the gate inside waits for GO. Not before that are the outputs read: without a writer they would be at their end. */
  async ready(gone: Promise<unknown>): Promise<Outputs> {
    const deadline = AbortSignal.timeout(READY_PATIENCE_MS);
    const said = once(this.readyPipe, 'data', { signal: deadline }).then(([bytes]: unknown[]) => String(bytes).trim());
    const word = await Promise.race([said, gone.then(() => 'ended before it was ready')]);
    said.catch(() => undefined);
    this.readyPipe.destroy();
    if (word !== 'READY') throw new SandboxFault('sandbox-failed', 'The sandbox could not be made.', word);
    const output = (name: string): Readable => pipeAt(join(this.directory, name), constants.O_RDONLY);
    this.outputs = { stdout: output('out'), stderr: output('err') };
    return this.outputs;
  }

  /** GO, and the environment. Rejects where the pipe is gone. */
  async open(env: Readonly<Record<string, string>>): Promise<void> {
    const lines = Object.entries(env).map(([name, value]) => `export ${name}=${quoted(value)}\n`);
    await new Promise<void>((resolve, reject) => {
      this.goPipe.once('close', () => reject(new Error('the gate is shut')));
      this.goPipe.write(['GO\n', ...lines, '_whole=yes\n'].join(''), (error) => (error ? reject(error) : resolve()));
    });
    this.goPipe.destroy();
  }

  /** The end of file: whoever waits inside exits. */
  shut(): void {
    this.goPipe.destroy();
    this.readyPipe.destroy();
    this.stdin?.destroy();
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
  const writable = mode === constants.O_RDWR;
  const socket = new Socket({ fd, readable: true, writable });
  // An end that is gone is said by the container's own end.
  socket.on('error', () => undefined);
  return socket;
}

/** A named pipe has no half that could be shut down: its end of file is that nobody has it open. */
function endingWithItself(pipe: Socket): Writable {
  const input = new Writable({
    write: (piece: Buffer, _encoding, done) => void pipe.write(piece, done),
    final: (done) => {
      pipe.destroy();
      done();
    },
    destroy: (error, done) => {
      pipe.destroy();
      done(error);
    },
  });
  input.on('error', () => undefined);
  return input;
}
