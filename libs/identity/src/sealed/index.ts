/** Secrets that only one instance can read: sealed by whoever signs the spawn, opened with the instance's own key. */
export * from './seal-secret.js';
export * from './sealing-key.js';
export * from './secret-name.js';
