/** Runs a mesh until its parent lets go. Argument: MeshOptions as JSON. Says where everything is. */
import { readFileSync } from 'node:fs';
import { Mesh, type MeshOptions } from '@capstan/localmesh';
import { serveParent } from './child.ts';
import type { MeshPlaces } from './mesh.ts';
import { makeRepository } from './repository.ts';

// Ctrl-C reaches the whole process group. The parent dies of it and lets go, and the mesh is taken down in order.
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => undefined);

using repository = makeRepository();
const options = JSON.parse(process.argv[2] ?? '{}') as MeshOptions;
await using mesh = await Mesh.start({ ...options, repository: repository.path });
const hubPid = mesh.hub.process.pid ?? 0;
// The hub's own environment: the harness keeps the address of its database to itself.
const environment = readFileSync(`/proc/${String(hubPid)}/environ`, 'utf8').split('\0');
const valueOf = (name: string): string =>
  environment.find((line) => line.startsWith(`${name}=`))?.slice(name.length + 1) ?? '';
const places: MeshPlaces = {
  hubPid,
  hubUrl: mesh.hub.url,
  token: mesh.hub.token,
  trustFile: mesh.trustFile,
  databaseUrl: valueOf('CAPSTAN_DATABASE_URL'),
  instances: mesh.instances.map(({ id, dir, orchestratorSocket }) => ({ id, dir, orchestratorSocket })),
  repository: mesh.repository?.path ?? '',
};
await serveParent(places);
