/** Grants: signed delegations that only narrow, and whether a chain of them covers a command. Pure: no clock, disk or network. */
export * from './command-grants.js';
export * from './grant-scope.js';
export * from './make-grant.js';
export * from './verify-grant-chain.js';
