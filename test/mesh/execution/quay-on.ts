import { Mesh, type MeshOptions } from '@capstan/localmesh';
import { agentIn, spawnAgent, type SpawnOverrides } from '../../support/agents.js';
import { type AgentPlace, placeOf } from '../../support/host-processes.js';
import { TestRepository } from '../../support/repository.js';
import { until } from '../../support/until.js';
import type { StartDriver, TestDriver } from './driver.js';

/** An agent that runs, and where all of it is. */
export interface Running {
  agentId: string;
  place: AgentPlace;
}

/** A mesh of one instance, called quay, from before the calling describe's first test to after its last. */
export interface QuayRoom {
  readonly repository: TestRepository;
  readonly mesh: Mesh;
  /** How the mesh was told to run its agents. */
  readonly sandbox: TestDriver['mesh']['sandbox'];
  quay(): ReturnType<Mesh['instance']>;
  /** @returns a new agent once it runs: one that takes an hour where nothing else is asked for */
  running(over?: SpawnOverrides): Promise<Running>;
  leftNothing(): Promise<void>;
}

/**
 * However far the start came, all of it is let go of in the end.
 *
 * @param more options of the mesh, asked for when it starts
 */
export function quayOn(startDriver: StartDriver, more: () => Partial<MeshOptions> = () => ({})): QuayRoom {
  const held = new AsyncDisposableStack();
  const repository = held.use(new TestRepository());
  let parts: { driver: TestDriver; mesh: Mesh } | undefined;

  beforeAll(async () => {
    const driver = held.use(await startDriver());
    const { env, ...options } = more();
    const mesh = await Mesh.start({
      instances: ['quay'],
      repository: repository.path,
      ...driver.mesh,
      ...options,
      env: { ...driver.mesh.env, ...env },
    });
    held.defer(() => mesh.stop());
    parts = { driver, mesh };
  });
  afterAll(() => held.disposeAsync());

  const started = (): { driver: TestDriver; mesh: Mesh } => {
    if (parts === undefined) throw new Error('the mesh did not start');
    return parts;
  };
  const quay = (): ReturnType<Mesh['instance']> => started().mesh.instance('quay');
  return {
    repository,
    get mesh() {
      return started().mesh;
    },
    get sandbox() {
      return started().driver.mesh.sandbox;
    },
    quay,
    async running(over = {}) {
      const { mesh } = started();
      const { agentId } = await spawnAgent(mesh, 'quay', { playbook: 'long-run', ...over });
      await agentIn(mesh, agentId, 'running');
      return { agentId, place: await until('it is registered', () => placeOf(quay(), agentId)) };
    },
    leftNothing: () => started().driver.leftNothing(),
  };
}
