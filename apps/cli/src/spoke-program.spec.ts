import { optionOf } from './commands/scope.js';
import { exitCodeOf } from './exit-codes.js';
import { faultIn } from './spoke-program.js';

const FAILED = { code: 'join-failed', sentence: 'The instance could not enrol.' };

describe('a program of the spoke that fails', () => {
  it.each([
    ['This instance belongs to a hub already. (already-joined)\n', 'already-joined', 5],
    ['a line before it\nThe hub cannot be reached. (hub-unreachable)\n', 'hub-unreachable', 8],
    ['The file cannot be read. (file-missing)', 'file-missing', 3],
    ['/srv/x is no directory, and none can be made. (directory-unusable)', 'directory-unusable', 5],
    ['The hub refused: a valid token is required. (enrollment-refused)', 'enrollment-refused', 4],
    ['TypeError: x is not a function', 'join-failed', 1],
    ['', 'join-failed', 1],
  ])('is told by its own code, with the exit code for it: %s', (complained, code, exit) => {
    const fault = faultIn(complained, FAILED);
    expect({ code: fault.code, exit: exitCodeOf(fault) }).toEqual({ code, exit });
  });
});

it.each([
  [{ scope: 'mesh' as const }, '--mesh'],
  [{ scope: 'instance' as const, instance: 'quay' }, '--instance quay'],
  [{ scope: 'tenant' as const, tenant: 'default' }, '--tenant default'],
])('a scope is named by the option that it was typed with: %j', (scope, option) => {
  expect(optionOf(scope)).toBe(option);
});
