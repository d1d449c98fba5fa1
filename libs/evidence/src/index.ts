/**
 * Proof that outlives its processes: the hash-chained audit log, and the verification of receipts and logs offline; Merkle
 * trees over logs (RFC 6962), and what each side keeps of the other's.
 *
 * May import @capstan/identity and @capstan/protocol. Only `AuditLog`, its tree and `verifyLog` touch the disk.
 */
export { AuditLog, type AuditEntryInput, type AuditHead, type AuditLogOptions } from './audit-log.js';
export { bundleEntryLine, bundleHeaderLine, isBundleHeader, type AuditBundleHeader } from './bundle/audit-bundle.js';
export type { AuditFlaw } from './bundle/flaw.js';
export { bundleLines, type BundleSource } from './bundle/write-bundle.js';
export { verifyAuditBundle, type AuditVerdict } from './bundle/verify-bundle.js';
export { chainHash, GENESIS } from './chain.js';
export { describeReceipt } from './describe-receipt.js';
export { headLine, parseHeads } from './heads/head-file.js';
export { HeadOffer, type OfferedHead, type OwnLog } from './heads/head-offer.js';
export { CONFLICT_SENTENCES, PeerLog, type ConflictKind, type LogConflict, type TreeProof } from './heads/peer-log.js';
export { signTreeHead, verifyTreeHead, type VerifiedHead } from './heads/tree-head.js';
export {
  checkKillAllScope,
  lacksStatement,
  provesKillAll,
  verifyKillAll,
  type VerifiedKillAll,
} from './kill-all-statement.js';
export { LogReader } from './log-reader.js';
export { CompactRange } from './merkle/compact-range.js';
export { MerkleTree } from './merkle/merkle-tree.js';
export { EMPTY_ROOT, leafHash } from './merkle/tree-hash.js';
export { verifyConsistency, verifyInclusion, type TreeState } from './merkle/verify-proof.js';
export type { VerifiedObservation } from './observation.js';
export { verifyProbe, type VerifiedProbe } from './probe.js';
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
