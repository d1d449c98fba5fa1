import { BubblewrapDriver } from '@capstan/sandbox';
import { changingWorktreeContract } from '../../test/contract/changing-worktree.contract.js';

jest.setTimeout(300_000);

changingWorktreeContract(() => new BubblewrapDriver());
