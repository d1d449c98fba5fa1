import 'reflect-metadata';
import { runContext, runMain } from '@capstan/platform';
import { readSpokeConfig } from './config/spoke.config.js';
import { OwnerPolicyFile } from './policy/owner-policy.js';
import { SpokeModule } from './spoke.module.js';

await runMain('spoke', async () => {
  const config = readSpokeConfig(process.env);
  // A policy that cannot be read must be seen by its owner now, not at the first spawn.
  await new OwnerPolicyFile(config).current();
  await runContext(SpokeModule.register(config), { name: 'spoke' });
});
