/**
 * One agent's gateway as the orchestrator opens it, with the real provider and a Valkey of its own for the spending, until its
 * parent lets go. Arguments: the upstream's URL and the socket.
 */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { closeValkey, connectValkey, createLogger } from '@capstan/platform';
import { agentId, taskId, tenantId } from '@capstan/protocol';
import { startTestValkey } from '../support/test-valkey.ts';
import { serveParent } from './child.ts';

/** The part of the gateway's room that is used here; its code is the built one. */
interface GatewayRoom {
  ModelGateway: new (parts: object) => { open(order: object): Promise<{ close(): Promise<void> }> };
  SpendLedger: new (client: object) => object;
  createProvider: (settings: object) => object;
}

const built = join(import.meta.dirname, '../../dist/apps/orchestrator/src/gateway/index.js');
const { ModelGateway, SpendLedger, createProvider } = (await import(pathToFileURL(built).href)) as GatewayRoom;
const [url = '', socketPath = ''] = process.argv.slice(2);

await using valkey = await startTestValkey();
const client = await connectValkey(valkey.url);
const gateway = new ModelGateway({
  provider: createProvider({ name: 'anthropic', apiKey: 'bench', url }),
  log: createLogger('gateway', { destination: { write: () => undefined } }),
  ledger: new SpendLedger(client),
  rules: () => Promise.resolve({ taskMicroUsd: 1e12, tenantMicroUsdPerDay: 1e12 }),
});
const session = await gateway.open({
  agentId: agentId('bench'),
  taskId: taskId('bench'),
  tenant: tenantId('bench'),
  socketPath,
  uid: process.getuid?.() ?? 0,
  gid: process.getgid?.() ?? 0,
  budgetMicroUsd: 1e12,
  model: '',
  onUsage: () => undefined,
  onBudget: () => undefined,
});
await serveParent({ socketPath });
await session.close();
await closeValkey(client);
