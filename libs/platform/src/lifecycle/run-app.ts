import type { INestApplication, INestApplicationContext, Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { LocalFault } from '@capstan/protocol';
import { listen, type ListenTarget } from '../http/listen.js';
import { ProblemFilter } from '../http/problem.filter.js';
import { requestValidation } from '../http/request-validation.js';
import { createLogger, type Logger } from '../logging/logger.js';
import { NestLog } from '../logging/nest-log.js';

/** A drain that takes longer is cut, so that a supervisor never has to guess. */
const DRAIN_MS = 10_000;

export interface RunAppOptions {
  /** Name in the logs. */
  name: string;
  /** Where to listen; given a function, it is asked once the application exists. */
  listen: ListenTarget | ((app: INestApplication) => ListenTarget);
  /** Key and certificate, PEM; without them it serves plain HTTP. */
  https?: { key: string; cert: string; minVersion: 'TLSv1.3' };
  logger?: Logger;
  /** Guards, prefixes, documents, adapters: whatever must be set before it listens. */
  configure?: (app: INestApplication) => void | Promise<void>;
}

/** Boots a Nest HTTP application with our logger, problem documents and validation; closes it on SIGTERM and SIGINT. */
export async function runApp(module: Type | object, options: RunAppOptions): Promise<INestApplication> {
  const logger = options.logger ?? createLogger(options.name);
  const app = await NestFactory.create(module as Type, {
    logger: new NestLog(logger),
    abortOnError: false,
    ...(options.https === undefined ? {} : { httpsOptions: options.https }),
  });
  app.useGlobalFilters(new ProblemFilter(logger));
  app.useGlobalPipes(requestValidation());
  await options.configure?.(app);
  const target = typeof options.listen === 'function' ? options.listen(app) : options.listen;
  try {
    await listen(app, target);
  } catch (error) {
    await app.close();
    throw error;
  }
  closeOnSignal(app, logger);
  logger.info({ msg: 'listening', ...target });
  return app;
}

/** The same without HTTP, for a process that only dials out. */
export async function runContext(
  module: Type | object,
  options: { name: string; logger?: Logger },
): Promise<INestApplicationContext> {
  const logger = options.logger ?? createLogger(options.name);
  const app = await NestFactory.createApplicationContext(module as Type, {
    logger: new NestLog(logger),
    abortOnError: false,
  });
  closeOnSignal(app, logger);
  logger.info({ msg: 'started' });
  return app;
}

/** Runs a main; what it throws becomes one log line with a sentence, and exit code 1. */
export async function runMain(name: string, body: () => Promise<unknown>): Promise<void> {
  try {
    await body();
  } catch (error) {
    const msg = error instanceof LocalFault ? error.sentence : 'cannot start';
    createLogger(name).fatal({ err: error, msg });
    process.exitCode = 1;
  }
}

function closeOnSignal(app: INestApplicationContext, logger: Logger): void {
  let closing = false;
  const close = (signal: NodeJS.Signals): void => {
    if (closing) return;
    closing = true;
    logger.info({ msg: 'stopping', signal });
    const cut = setTimeout(() => {
      logger.error({ msg: 'the drain took too long and was cut', afterMs: DRAIN_MS });
      process.exit(1);
    }, DRAIN_MS);
    cut.unref();
    app.close().then(
      () => {
        logger.info({ msg: 'stopped' });
      },
      (error: unknown) => {
        logger.error({ err: error, msg: 'the drain failed' });
        process.exitCode = 1;
      },
    );
  };
  process.on('SIGTERM', close);
  process.on('SIGINT', close);
}
