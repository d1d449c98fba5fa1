import type { CommandRecord } from '../commands/command-record.js';
import { envelopeText } from '../commands/envelope-text.js';
import type { MessageOf } from './bus-message.js';

/** A kill as it is told to the other replicas: at once, since its row may have to wait for the database. */
export function killMessage({ envelope, admission }: CommandRecord): MessageOf<'kill'> {
  return {
    kind: 'kill',
    envelope: envelopeText(envelope),
    admission: admission === null ? null : envelopeText(admission),
  };
}
