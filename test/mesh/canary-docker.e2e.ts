import { describeCanary } from './canary/describe.js';
import { dockerOfFile } from './execution/docker-of-file.js';

jest.setTimeout(600_000);

/** With which the ways look around; bubblewrap shows those of the host. */
const PROGRAMS = ['perl', 'getent', 'rev', 'unshare', 'mount', 'su', 'chroot', 'dmesg', 'ipcs'];

describe('in Docker', () => {
  describeCanary(dockerOfFile(PROGRAMS));
});
