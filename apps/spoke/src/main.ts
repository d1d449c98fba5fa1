import 'reflect-metadata';
import { loadOrCreateToken, loadPolicy, runApp, runMain } from '@capstan/platform';
import { configureApi } from './configure-api.js';
import { readSpokeConfig } from './config/spoke.config.js';
import { SpokeModule } from './spoke.module.js';

await runMain('spoke', async () => {
  const config = readSpokeConfig(process.env);
  // A policy that cannot be read must be seen by its owner now, not at the first spawn.
  await loadPolicy(config.dir.policyFile);
  const token = await loadOrCreateToken(config.dir.spokeToken);
  await runApp(SpokeModule.register(config), {
    name: 'spoke',
    listen: { path: config.dir.spokeSocket },
    configure: (app) => configureApi(app, token),
  });
});
