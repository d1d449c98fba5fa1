import { appendFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';

/** An id of a row in test/requirements.yaml, e.g. "FED-07". */
export type RequirementId = `${string}-${string}`;

/**
 * Ties a test to the requirements that it proves: `it('refuses …', proves('FED-07', async () => { … }))`.
 *
 * The proof is recorded only once the body has run to its end without throwing, into the directory that
 * CAPSTAN_PROOFS names; `npm run requirements` reads it. Without CAPSTAN_PROOFS nothing is recorded.
 */
export function proves(ids: RequirementId | RequirementId[], body: () => void | Promise<void>): () => Promise<void> {
  return async () => {
    await body();
    const directory = process.env['CAPSTAN_PROOFS'];
    if (directory === undefined) return;
    const { currentTestName, testPath } = expect.getState();
    mkdirSync(directory, { recursive: true });
    const lines = [ids].flat().map((id) => `${JSON.stringify({ id, test: currentTestName, file: testPath })}\n`);
    appendFileSync(join(directory, `${String(process.pid)}.jsonl`), lines.join(''));
  };
}
