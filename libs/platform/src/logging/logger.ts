import { pino, type DestinationStream, type Logger as PinoLogger } from 'pino';
import { redactText, redactValue } from './redaction.js';

export type Logger = PinoLogger;

export interface LoggerOptions {
  /** Lowest level written; default CAPSTAN_LOG_LEVEL, else info. */
  level?: string;
  /** Where the lines go; default stdout. */
  destination?: DestinationStream;
}

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'];

/** A named logger that writes one JSON line per event and hides secrets by construction, whatever is logged. */
export function createLogger(name: string, options: LoggerOptions = {}): Logger {
  const wanted = options.level ?? process.env['CAPSTAN_LOG_LEVEL'] ?? '';
  const settings = {
    name,
    level: LEVELS.includes(wanted) ? wanted : 'info',
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: {
      level: (label: string) => ({ level: label }),
      log: (fields: Record<string, unknown>) => redactValue(fields) as Record<string, unknown>,
    },
    // Errors are shaped by redactValue; pino's own serialiser would print their fields as they are.
    serializers: { err: (error: unknown) => redactValue(error) },
    hooks: { streamWrite: redactText },
  };
  return options.destination === undefined ? pino(settings) : pino(settings, options.destination);
}
