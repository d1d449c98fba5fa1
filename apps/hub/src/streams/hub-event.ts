import { stripControl } from '@capstan/protocol';

/** Something that happened, as the stream of events tells it. */
export interface HubEvent {
  /** Sequence of the audit entry: pass it as `after` to go on behind this event. */
  cursor: string;
  /** When it happened, ISO 8601. */
  at: string;
  /** Kind of the audit entry, e.g. `agent.reported`. */
  kind: string;
  /** Id of what it is about. */
  subject: string;
  detail: Record<string, string | number | boolean>;
}

/** First words of the kinds that are told; the others are for whoever reads the audit. */
const TOLD: ReadonlySet<string> = new Set(['agent', 'command', 'connection', 'kill', 'killswitch', 'receipt']);
const LONGEST_TEXT = 2_000;

export function isTold(kind: string): boolean {
  return TOLD.has(kind.split('.')[0] ?? '');
}

/** What an audit entry says, short and safe to print. Throws SyntaxError where the record is no JSON. */
export function hubEvent(sequence: bigint, record: string): HubEvent {
  const { at, kind, subject, detail } = JSON.parse(record) as Omit<HubEvent, 'cursor'>;
  const safe = Object.entries(detail).map(([name, value]) => [name, typeof value === 'string' ? short(value) : value]);
  return {
    cursor: sequence.toString(),
    at,
    kind,
    subject: short(subject),
    detail: Object.fromEntries(safe) as HubEvent['detail'],
  };
}

function short(text: string): string {
  return stripControl(text.slice(0, LONGEST_TEXT));
}
