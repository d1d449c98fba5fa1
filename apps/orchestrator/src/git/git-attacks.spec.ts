import { BubblewrapDriver } from '@capstan/sandbox';
import { gitAttacksContract } from '../../test/contract/git-attacks.contract.js';

jest.setTimeout(120_000);

gitAttacksContract(() => new BubblewrapDriver());
