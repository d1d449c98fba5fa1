import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { HubClient, Mesh } from '@capstan/localmesh';
import { completed, spawnAgent } from '../support/agents.js';
import { proves } from '../support/proves.js';
import { TestRepository } from '../support/repository.js';

jest.setTimeout(300_000);

describe('a mesh whose hub ends TLS with a certificate of its own making', () => {
  const repository = new TestRepository({ 'README.md': '# Harbour\n' });
  let mesh: Mesh;

  beforeAll(async () => {
    mesh = await Mesh.start({ instances: ['harbor'], repository: repository.path, tls: true });
  });
  afterAll(async () => {
    await mesh.stop();
    repository[Symbol.dispose]();
  });

  it(
    'enrols by the pin, and carries an order, a question and their receipts over wss',
    proves(['FED-02', 'FED-04'], async () => {
      const dir = mesh.instance('harbor').dir;
      const { hub } = JSON.parse(readFileSync(join(dir, 'instance.json'), 'utf8')) as { hub: unknown };
      expect(hub).toEqual({ id: 'hub', url: mesh.hub.url, tls: { pin: mesh.hub.tlsPin, ends: 'hub' } });
      expect(mesh.hub.url).toMatch(/^https:/);
      const { agentId } = await spawnAgent(mesh, 'harbor');
      await completed(mesh, agentId);
      const { agent, receipt } = await mesh.client.status(agentId);
      expect(agent.state).toBe('completed');
      expect(receipt.verified).toBe(true);
    }),
  );

  it('is reached by the CLI with the pin of its context, and by nobody without', async () => {
    const program = join(process.cwd(), 'dist/apps/cli/src/main.js');
    const args = [program, 'spoke', 'ls', '--json', '--context', mesh.contextFile];
    const { stdout } = await promisify(execFile)(process.execPath, args);
    expect(JSON.parse(stdout)).toMatchObject({ connections: [{ instanceId: 'harbor', online: true }] });
    const unpinned = new HubClient(mesh.hub.url, mesh.hub.token);
    await expect(unpinned.connections()).rejects.toMatchObject({ code: 'hub-unreachable' });
    const wrong = new HubClient(mesh.hub.url, mesh.hub.token, 'A'.repeat(43));
    await expect(wrong.connections()).rejects.toMatchObject({ code: 'tls-pin-mismatch' });
  });
});
