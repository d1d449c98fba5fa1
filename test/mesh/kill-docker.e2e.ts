import { dockerOfFile } from './execution/docker-of-file.js';
import { describeHostile, describeHostileInTrouble } from './killswitch/hostile.js';
import { describeLocal } from './killswitch/local.js';
import { describePressure } from './killswitch/pressure.js';

jest.setTimeout(600_000);

describe('in Docker', () => {
  const docker = dockerOfFile();
  describePressure(docker);
  describeLocal(docker);
  describeHostile(docker);
  describeHostileInTrouble(docker);
});
