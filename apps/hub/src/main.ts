import { runApp, runMain } from '@capstan/platform';
import { configureHub } from './configure-hub.js';
import { readHubConfig } from './hub.config.js';
import { HubModule } from './hub.module.js';

await runMain('hub', async () => {
  const config = readHubConfig(process.env);
  const { host, port } = config;
  await runApp(HubModule.with(config), { name: 'hub', listen: { host, port }, configure: configureHub });
});
