import { resolve } from 'node:path';
import { checkoutRoot, defaultStateDir, Mesh, type MeshModel, type MeshOptions } from '@capstan/localmesh';
import { chooseModel } from '../demo/choose-model.js';
import { runDemo } from '../demo/run-demo.js';
import { ExitCode } from '../exit-codes.js';
import type { Output } from '../output/output.js';
import { chooseProgress } from '../progress/choose-progress.js';
import type { Progress } from '../progress/progress.js';
import { Interruption } from './interruption.js';

export interface UpOptions {
  demo?: true;
  once?: true;
  repo?: string;
  scripted?: true;
  yes?: true;
  instances: string[];
  port: number;
  sandbox?: 'bubblewrap' | 'docker';
  state?: string;
}

/**
 * Starts a mesh and, with --demo, shows what it can do; stays until Ctrl-C (or SIGTERM), then takes it down and leaves
 * nothing running. @throws LocalFault as `Mesh.start`; `demo-failed`
 */
export async function up(output: Output, options: UpOptions): Promise<void> {
  using interruption = new Interruption();
  const progress = await chooseProgress(output);
  const repository = options.repo ?? checkoutRoot();
  const model = await chooseModel(output, {
    scripted: options.scripted === true,
    yes: options.yes === true,
    signal: interruption.signal,
  });
  const startedAt = performance.now();
  let mesh: Mesh;
  try {
    mesh = await startMesh(output, progress, { ...options, repository, model, signal: interruption.signal });
  } catch (error) {
    if (!interruption.isRequested) throw error;
    output.note('Interrupted; nothing was left running.');
    output.exitCode = ExitCode.interrupted;
    return;
  }
  let isDone = true;
  try {
    const upMs = Math.round(performance.now() - startedAt);
    const stays = options.once !== true;
    if (options.demo === true) {
      isDone = await interruption.unless(() => runDemo({ output, progress, mesh, model, upMs, stays }));
    } else
      output.result('up', meshFields(mesh), [`The mesh is up: hub ${mesh.hub.url}, token in ${mesh.hub.tokenFile}.`]);
    if (stays && !interruption.isRequested) {
      output.note('Running. Ctrl-C ends it.');
      await interruption.requested;
    }
  } finally {
    await takeDown(mesh, progress, output);
  }
  if (interruption.fault !== undefined) throw interruption.fault;
  // Ctrl-C is the normal end of a mesh that stays.
  if (!isDone) output.exitCode = ExitCode.interrupted;
}

interface StartOptions {
  repository: string;
  model: MeshModel;
  instances: string[];
  port: number;
  sandbox?: 'bubblewrap' | 'docker';
  state?: string;
  signal: AbortSignal;
}

function startMesh(output: Output, progress: Progress, options: StartOptions): Promise<Mesh> {
  const valkeyUrl = process.env['CAPSTAN_VALKEY_URL'];
  return progress.steps(`Starting the mesh: hub, ${options.instances.join(', ')}`, (onStep) =>
    Mesh.start({
      stateDir: options.state === undefined ? defaultStateDir() : resolve(options.state),
      instances: options.instances,
      repository: options.repository,
      hubPort: options.port,
      model: options.model,
      signal: options.signal,
      onStep,
      onRestart: (name) => {
        output.note(`${name} ended by itself and is being started again.`);
      },
      ...(options.sandbox === undefined ? {} : { sandbox: sandboxOf(options.sandbox) }),
      ...(valkeyUrl === undefined ? {} : { valkeyUrl }),
    }),
  );
}

/** An instance that was made earlier keeps its policy: there the owner decides in policy.yaml. */
function sandboxOf(driver: 'bubblewrap' | 'docker'): NonNullable<MeshOptions['sandbox']> {
  if (driver === 'bubblewrap') return { driver };
  const socketPath = process.env['CAPSTAN_DOCKER_SOCKET'];
  return { driver, ...(socketPath === undefined ? {} : { socketPath }) };
}

async function takeDown(mesh: Mesh, progress: Progress, output: Output): Promise<void> {
  try {
    await progress.run('Taking the mesh down', () => mesh.stop());
  } catch (error) {
    output.failure(error);
    output.exitCode = ExitCode.error;
  }
}

function meshFields(mesh: Mesh): Record<string, unknown> {
  return {
    hub: { id: mesh.hub.id, url: mesh.hub.url, tokenFile: mesh.hub.tokenFile },
    instances: mesh.instances.map(({ id, dir }) => ({ id, dir })),
    stateDir: mesh.stateDir,
    contextFile: mesh.contextFile,
  };
}
