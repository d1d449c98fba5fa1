/**
 * Pushes one commit as an orchestrator does, so that a test can kill it meanwhile:
 * `node --import from-source.mjs pushing.ts STORE REMOTE BRANCH COMMIT`.
 */
import { push, RepositoryStore } from '../src/git/index.js';

const [root = '', remote = '', branch = '', commit = ''] = process.argv.slice(2);
const repository = await new RepositoryStore({ root }).open('default', remote);
await push({ repository, branch, commit });
