/**
 * Secrets are looked for before every commit: in the new files of the tree, its paths, and the commit's own texts. Imports
 * git (to read the tree from the repository) and protocol. A finding says where, never what.
 */
export { SecretScanner, type ScanOrder, type ScannerOptions } from './secret-scanner.js';
export { sentenceOf, type SecretFinding } from './finding.js';
export type { ScanProgram } from './scan-thread.js';
