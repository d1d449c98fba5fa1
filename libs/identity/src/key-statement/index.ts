export * from './believe-statements.js';
export * from './make-key-statement.js';
export * from './verify-key-statement.js';
export * from './unfollowed.js';
