/** Runs a git that waits, as an orchestrator does, so that a test can kill it meanwhile. */
import { runGit } from '../src/git/safe-git.js';

await runGit(['-c', 'alias.wait=!exec sleep 60', 'wait']);
