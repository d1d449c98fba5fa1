import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ReaperClient } from '@capstan/platform';
import { bundle } from './bundle.js';

/** A real reaper process of an instance of its own, in a directory of its own. */
export class ReaperProcess implements AsyncDisposable {
  readonly client: ReaperClient;
  private child: ChildProcess | undefined;
  /** Lines of its log so far. */
  readonly log: Record<string, unknown>[] = [];

  private constructor(
    readonly directory: string,
    private readonly program: string,
    private readonly env: Readonly<Record<string, string>>,
  ) {
    this.client = new ReaperClient(join(directory, 'run', 'reaper.sock'));
  }

  /**
   * Not started yet; its directory is below `parent`.
   *
   * @param options another program than the product's, and further environment
   */
  static async create(
    instanceId = 'harbor',
    parent = tmpdir(),
    options: { program?: string; env?: Record<string, string> } = {},
  ): Promise<ReaperProcess> {
    const { program = 'apps/orchestrator/src/reaper/main.ts', env = {} } = options;
    const room = mkdtempSync(join(parent, 'capstan-reaper-'));
    const directory = join(room, 'instance');
    mkdirSync(directory, { mode: 0o700 });
    writeFileSync(join(directory, 'instance.json'), JSON.stringify({ version: 1, instanceId }));
    return new ReaperProcess(directory, await bundle(program, join(room, 'reaper.mjs')), env);
  }

  static async started(instanceId?: string): Promise<ReaperProcess> {
    const reaper = await ReaperProcess.create(instanceId);
    expect(await reaper.start()).toBe('reaper-ready');
    return reaper;
  }

  get pid(): number {
    return this.child?.pid ?? NaN;
  }

  /** Starts the process; the first event of its log, which is `reaper-ready` if it could start. */
  async start(): Promise<unknown> {
    const child = spawn(process.execPath, [this.program], {
      env: { PATH: process.env['PATH'], CAPSTAN_INSTANCE_DIR: this.directory, ...this.env },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const lines = createInterface(child.stderr);
    const first = once(lines, 'line');
    lines.on('line', (line) => this.log.push(JSON.parse(line) as Record<string, unknown>));
    await first;
    const event = this.log.at(-1)?.['event'];
    if (event === 'reaper-ready') this.child = child;
    else await once(child, 'close');
    return event;
  }

  async stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    const { child } = this;
    this.child = undefined;
    if (child === undefined) return;
    const ended = once(child, 'close');
    child.kill(signal);
    await ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client.close();
    await this.stop();
    rmSync(join(this.directory, '..'), { recursive: true });
  }
}
