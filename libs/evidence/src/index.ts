/**
 * Proof that outlives its processes: the hash-chained audit log, and the verification of receipts and logs offline.
 *
 * May import @capstan/identity and @capstan/protocol. Only `AuditLog` and `verifyLog` touch the disk.
 */
export { AuditLog, type AuditEntryInput, type AuditHead, type AuditLogOptions } from './audit-log.js';
export { chainHash, GENESIS } from './chain.js';
export { describeReceipt } from './describe-receipt.js';
export type { VerifiedObservation } from './observation.js';
export {
  makeBundle,
  parseBundle,
  verifyBundle,
  type ParsedBundle,
  type ReceiptBundle,
  type VerifiedBundle,
} from './receipt-bundle.js';
export { verifyLog, type LogVerdict } from './verify-log.js';
export { receiptKind, verifyReceipt, type ReceiptKind, type VerifiedReceipt } from './verify-receipt.js';
