import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { OwnerPolicy } from '@capstan/platform';
import { proves } from '../../../../test/support/proves.js';
import { ProgramStore } from './program.store.js';

describe("the copies of the owner's programs", () => {
  let room: string;
  beforeEach(() => {
    room = mkdtempSync(join(tmpdir(), 'capstan-programs-'));
    mkdirSync(join(room, 'own', 'lib'), { recursive: true });
    writeFileSync(join(room, 'own', 'lib', 'main.js'), 'one');
  });
  afterEach(() => rmSync(room, { recursive: true }));

  /** One life of the orchestrator. */
  const life = (): ProgramStore => {
    const programs = { own: { kind: 'command', argv: ['/bin/true'], directory: join(room, 'own') } };
    return new ProgramStore(join(room, 'copies'), async () => ({ programs }) as unknown as OwnerPolicy);
  };

  it(
    'are used again by a later life, whose agents of a former one may still run from them',
    proves('ORC-109', async () => {
      const [first, second] = [await life().find('own'), await life().find('own')];
      expect(second).toEqual(first);
      expect(readdirSync(join(room, 'copies'))).toHaveLength(1);
      writeFileSync(join(room, 'own', 'lib', 'main.js'), 'changed');
      const changed = await life().find('own');
      expect(changed?.source).not.toBe(first?.source);
      expect(readFileSync(join(changed?.source ?? '', 'lib', 'main.js'), 'utf8')).toBe('changed');
    }),
  );
});
