import { terminalText } from './terminal-text.js';

/** Where text goes; process.stdout and process.stderr, or a test's. */
export interface Streams {
  out: { write(text: string): unknown };
  err: { write(text: string): unknown };
}

/**
 * What one command prints. For people: lines on stdout, notes on stderr. With `--json`: exactly one versioned object on
 * stdout, in one line, and everything else on stderr.
 */
export class Output {
  exitCode = 0;
  readonly isJson: boolean;
  private readonly streams: Streams;
  private wasResultWritten = false;

  constructor(options: { isJson: boolean; streams?: Streams }) {
    this.isJson = options.isJson;
    this.streams = options.streams ?? { out: process.stdout, err: process.stderr };
  }

  /** A line of the answer; with --json on stderr. */
  line(text = ''): void {
    (this.isJson ? this.streams.err : this.streams.out).write(`${terminalText(text)}\n`);
  }

  /** Something aside from the answer: progress, warnings. */
  note(text: string): void {
    this.streams.err.write(`${terminalText(text)}\n`);
  }

  /** The answer: as one object, or as lines for people. */
  result(kind: string, fields: Readonly<Record<string, unknown>>, lines: readonly string[]): void {
    if (this.isJson) this.json({ version: 1, kind: `capstan.${kind}`, ...fields });
    else for (const line of lines) this.line(line);
  }

  /** One object on stdout; a second one would make the output unreadable and is a fault in the program. */
  json(object: Readonly<Record<string, unknown>>): void {
    if (this.wasResultWritten) throw new Error('a second JSON object');
    this.wasResultWritten = true;
    this.streams.out.write(
      `${JSON.stringify(object, (_, value: unknown) => (typeof value === 'bigint' ? value.toString() : value))}\n`,
    );
  }

  /** One of many answers of a command that goes on: one object in one line each, or lines for people. */
  item(kind: string, fields: Readonly<Record<string, unknown>>, lines: readonly string[]): void {
    if (!this.isJson) for (const line of lines) this.line(line);
    else this.streams.out.write(`${JSON.stringify({ version: 1, kind: `capstan.${kind}`, ...fields })}\n`);
  }

  /** What went wrong, as sentence and code. */
  failure(error: unknown): void {
    const { code, sentence, fields, detail } = publicFault(error);
    this.note(`capstan: ${sentence} (${code})`);
    for (const { field, message } of fields) this.note(`  ${field}: ${message}`);
    if (detail !== undefined) for (const line of detail.split('\n').slice(-12)) this.note(`  | ${line}`);
    this.failureJson(code, sentence, fields);
  }

  failureJson(code: string, sentence: string, fields: readonly FieldFault[] = []): void {
    if (!this.isJson || this.wasResultWritten) return;
    this.json({
      version: 1,
      kind: 'capstan.error',
      error: { code, sentence, ...(fields.length > 0 ? { fields } : {}) },
    });
  }
}

interface FieldFault {
  field: string;
  message: string;
}

interface PublicFault {
  code: string;
  sentence: string;
  fields: readonly FieldFault[];
  /** Local detail, such as the end of a log; never something that a peer sent. */
  detail?: string;
}

function publicFault(error: unknown): PublicFault {
  const { code, sentence, errors, detail, message, name } = (error ?? {}) as Record<string, unknown>;
  if (typeof code === 'string' && typeof sentence === 'string') {
    return {
      code,
      sentence,
      fields: Array.isArray(errors) ? (errors as FieldFault[]) : [],
      ...(name === 'LocalFault' && typeof detail === 'string' && detail !== '' ? { detail } : {}),
    };
  }
  return { code: 'internal', sentence: typeof message === 'string' ? message : String(error), fields: [] };
}
