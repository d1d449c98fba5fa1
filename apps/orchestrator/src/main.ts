import { createLogger, loadOrCreateToken, runApp, runMain } from '@capstan/platform';
import { loadSettings } from './config/settings.js';
import { configureApi } from './configure-api.js';
import { Orchestrator } from './orchestrator.js';
import { OrchestratorModule } from './orchestrator.module.js';

await runMain('orchestrator', async () => {
  const logger = createLogger('orchestrator');
  const settings = loadSettings(process.env);
  const token = await loadOrCreateToken(settings.paths.token);
  const orchestrator = await Orchestrator.open(settings, logger);
  try {
    const app = await runApp(OrchestratorModule.register({ ...orchestrator.api, process: orchestrator }), {
      name: 'orchestrator',
      listen: settings.listen,
      logger,
      configure: (it) => configureApi(it, token),
    });
    await orchestrator.begin().catch(async (error: unknown) => {
      await app.close();
      throw error;
    });
  } catch (error) {
    await orchestrator.close();
    throw error;
  }
});
