import { type Envelope, LocalFault, WireFault } from '@capstan/protocol';
import type { Belief, SkippedStatement } from './believe-statements.js';

/** The statement that would have led to a key that signed this, had it been believed. */
export function skippedFor(
  { skipped }: Pick<Belief, 'skipped'>,
  { signatures }: Envelope,
): SkippedStatement | undefined {
  return skipped.find(({ newKeyId }) => signatures.some(({ keyId }) => keyId === newKeyId));
}

/**
 * What is thrown instead where a key is unknown only because a statement about it was not believed: a sentence for whoever
 * pins keys, with what to do about this owner. Anything else comes back unchanged.
 */
export function explainUnknown(error: unknown, belief: Belief, envelope: Envelope): unknown {
  if (!(error instanceof WireFault && error.code === 'key-unknown')) return error;
  const skipped = skippedFor(belief, envelope);
  if (skipped === undefined) return error;
  const { owner, newKeyId, code } = skipped;
  const [which, why, what] =
    code === 'key-fork'
      ? (['key-fork', 'two statements name different keys in the place of the pinned one', ''] as const)
      : ([
          'key-unfollowed',
          `the statement that puts it in the place of the pinned one is not believed here (${code})`,
          ', or pin its root key',
        ] as const);
  const sentence = `${owner} signs with ${newKeyId}, and ${why}. Ask the owner of ${owner} which key is right and pin ${owner} anew${what}; other owners are not concerned.`;
  return new LocalFault(which, sentence, newKeyId, { cause: error });
}
