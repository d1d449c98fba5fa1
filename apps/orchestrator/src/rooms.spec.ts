import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { proves } from '../../../test/support/proves.js';

const ROOMS = ['api', 'coordinator', 'gateway', 'git', 'killswitch', 'monitor', 'queue', 'reaper', 'spawner', 'valkey'];

it(
  'has the rooms of the execution plane, and no room for leftovers',
  proves('ORC-101', () => {
    const entries = readdirSync(__dirname, { withFileTypes: true });
    const folders = entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
    expect(folders.sort()).toEqual([...ROOMS, 'config', 'secret-scan', 'secrets'].sort());
    for (const room of ROOMS)
      expect(readdirSync(join(__dirname, room)).some((file) => file.endsWith('.ts'))).toBe(true);
  }),
);
