import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { ScanProgram } from '../src/secret-scan/index.js';

const ROOT = join(__dirname, '../../..');

/** The scanner's thread, run from its source. */
export const SCAN_FROM_SOURCE: ScanProgram = {
  file: pathToFileURL(join(ROOT, 'apps/orchestrator/src/secret-scan/scan-worker.ts')),
  execArgv: ['--import', pathToFileURL(join(ROOT, 'apps/spoke/test/from-source.mjs')).href],
};
