import { faultSentence } from '@capstan/protocol';

/** An order to kill that was refused: in words, with the stable code that scripts read. */
export function refusedText(code: string): string {
  return `its instance has refused it: ${faultSentence(code)} (${code})`;
}

/**
 * Why nobody can say that an instance's agents are dead.
 *
 * @param reason the hub's: `away`, `unanswered`, `unconfirmed` or `refused`
 * @param code why it was refused, or what its answer lacks
 */
export function unconfirmedText(reason: string, code?: string): string {
  const word = code ?? reason;
  if (reason === 'refused') return `UNCONFIRMED (${word}): the order was refused. ${faultSentence(word)}`;
  if (code !== undefined) return `UNCONFIRMED (${word}): ${faultSentence(code)}`;
  switch (reason) {
    case 'away':
      return `UNCONFIRMED (${word}): it is not connected, and hears of it first on its return.`;
    case 'unanswered':
      return `UNCONFIRMED (${word}): it is connected, and has not answered yet.`;
    default:
      return `UNCONFIRMED (${word}): not every death was seen yet.`;
  }
}

/** By when what nobody has seen dead is dead all the same. Undefined and null: there is no such time. */
export function leaseText(endsAt: string | null | undefined, whose: 'it' | 'them'): string {
  if (endsAt === undefined || endsAt === null) return `No lease ends ${whose}.`;
  return whose === 'it' ? `Its lease ends by ${endsAt}.` : `Their leases end by ${endsAt}.`;
}
