import { runReaper } from './run-reaper.js';

await runReaper();
