import { BubblewrapDriver } from '@capstan/sandbox';
import { hostileWorktreeContract } from '../../test/contract/hostile-worktree.contract.js';

jest.setTimeout(60_000);

hostileWorktreeContract(() => new BubblewrapDriver());
