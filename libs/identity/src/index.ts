/**
 * Keys: who somebody is, what a key was made for, whether a signature and a header hold.
 *
 * Pure logic over node:crypto; only key and trust files touch the disk. May import @capstan/protocol, nothing else.
 */
export * from './envelope-digest.js';
export * from './handshake-pae.js';
export * from './header.js';
export * from './key-check.js';
export * from './key-id.js';
export * from './key-record.js';
export * from './key-ring.js';
export * from './open-envelope.js';
export * from './signed-payload.js';
export * from './signing-key.js';
export * from './trust-file.js';
export * from './verify-bytes.js';
