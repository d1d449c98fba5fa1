import type { LoggerService } from '@nestjs/common';
import type { Logger } from './logger.js';

/** Nest's own messages as events of our logger. Routine start-up chatter is debug. */
export class NestLog implements LoggerService {
  constructor(private readonly logger: Logger) {}

  log(message: unknown, ...rest: unknown[]): void {
    this.logger.debug(fields(message, rest));
  }
  debug(message: unknown, ...rest: unknown[]): void {
    this.logger.debug(fields(message, rest));
  }
  verbose(message: unknown, ...rest: unknown[]): void {
    this.logger.trace(fields(message, rest));
  }
  warn(message: unknown, ...rest: unknown[]): void {
    this.logger.warn(fields(message, rest));
  }
  error(message: unknown, ...rest: unknown[]): void {
    this.logger.error(fields(message, rest));
  }
  fatal(message: unknown, ...rest: unknown[]): void {
    this.logger.fatal(fields(message, rest));
  }
}

function fields(message: unknown, rest: unknown[]): Record<string, unknown> {
  const context = rest.at(-1);
  const more = rest.slice(0, -1);
  return {
    ...(message instanceof Error ? { err: message, msg: message.message } : { msg: String(message) }),
    ...(typeof context === 'string' ? { context } : {}),
    ...(more.length > 0 ? { more } : {}),
  };
}
