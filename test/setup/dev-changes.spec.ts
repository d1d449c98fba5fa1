import { builtBy, inTurn, projectOf } from '../../scripts/dev/changes.ts';
import { proves } from '../support/proves.js';

describe('what npm run dev makes of a saved file', () => {
  it(
    'is built as its project, and started anew where it runs: an app by itself, all of them for a library, none for an agent',
    proves('ORC-104', () => {
      const projects = ['apps/hub/src/main.ts', 'libs/link/src/a/b.ts', 'apps/agent/src/main.ts'].map(projectOf);
      expect(projects).toEqual(['hub', 'link', 'agent']);
      for (const file of ['libs/link/src/a.spec.ts', 'apps/hub/README.md', 'scripts/dev/main.ts'])
        expect(projectOf(file)).toBeUndefined();
      expect([builtBy('hub', ['hub']), builtBy('spoke', ['hub']), builtBy('spoke', ['agent', 'hub'])]).toEqual([
        true,
        false,
        false,
      ]);
      for (const app of ['hub', 'spoke', 'orchestrator'] as const) expect(builtBy(app, ['link'])).toBe(true);
    }),
  );

  it(
    'is done one turn after the other, what is saved meanwhile together, and goes on after a turn that threw',
    proves('ORC-104', async () => {
      const turns: string[][] = [];
      const failures: unknown[] = [];
      const fault = new Error('cannot be started');
      const gates = [Promise.withResolvers<undefined>(), Promise.withResolvers<undefined>()];
      const follow = inTurn(
        async (files) => {
          turns.push([...files]);
          await gates[turns.length - 1]?.promise;
        },
        (error) => failures.push(error),
      );
      follow('a');
      for (const file of ['b', 'c', 'b']) follow(file);
      expect(turns).toEqual([['a']]);
      gates[0]?.reject(fault);
      gates[1]?.resolve(undefined);
      await follow.settled();
      expect(turns).toEqual([['a'], ['b', 'c']]);
      expect(failures).toEqual([fault]);

      follow('d');
      await follow.settled();
      expect(turns.at(-1)).toEqual(['d']);
    }),
  );
});
