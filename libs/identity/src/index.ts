/**
 * Keys: who somebody is, what a key was made for, whether a signature and a header hold.
 *
 * Pure logic over node:crypto; only key and trust files touch the disk, only `tls` the network. May import @capstan/protocol, nothing else.
 */
export * from './admission.js';
export * from './envelope-digest.js';
export * from './grants/index.js';
export * from './handshake-pae.js';
export * from './header.js';
export * from './issued-in-time.js';
export * from './key-check.js';
export { replaceFile, syncDirectory } from './key-file.js';
export * from './key-id.js';
export * from './key-record.js';
export * from './key-ring.js';
export * from './key-statement/index.js';
export * from './open-envelope.js';
export * from './public-key-file.js';
export * from './public-key-record.js';
export * from './routed-command.js';
export * from './sealed/index.js';
export * from './signed-payload.js';
export * from './signing-key.js';
export * from './tls/index.js';
export * from './trust-file.js';
export * from './verify-bytes.js';
