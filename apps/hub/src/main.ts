import { runApp, runMain } from '@capstan/platform';
import { configureHub } from './configure-hub.js';
import { readHubConfig } from './hub.config.js';
import { HubModule } from './hub.module.js';
import { HubTls } from './tls/hub-tls.js';

await runMain('hub', async () => {
  const config = readHubConfig(process.env);
  const { host, port } = config;
  const tls = await HubTls.load(config);
  const https = tls.serverOptions;
  await runApp(HubModule.with(config, tls), {
    name: 'hub',
    listen: { host, port },
    ...(https === undefined ? {} : { https }),
    configure: configureHub,
  });
});
