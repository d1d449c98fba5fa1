/** What is wrong with a bundle: stable words. */
export type AuditFlaw =
  /** The head, or one of the witness's, is not signed by the log's owner with a key that is pinned here. */
  | 'head-signature'
  | 'witness-signature'
  /** The header's parts do not fit each other. */
  | 'header'
  /** An entry cannot be read, does not have its number, does not follow the one before it, is missing, or is too many. */
  | 'malformed'
  | 'sequence'
  | 'chain'
  | 'truncated'
  | 'surplus'
  /** The entries are not those of the tree whose head the owner has signed. */
  | 'root'
  /** The entries are not those of which the other side keeps a signed head. */
  | 'witness';

/** Ends a verification at the first thing that is wrong. */
export class Flaw extends Error {
  override readonly name = 'Flaw';

  constructor(
    readonly flaw: AuditFlaw,
    /** Sequence of the first entry that fails; null where it is the head or the header. */
    readonly record: number | null,
    why: string,
  ) {
    super(why);
  }
}
