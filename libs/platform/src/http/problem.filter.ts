import { type ArgumentsHost, Catch, type ExceptionFilter } from '@nestjs/common';
import type { Logger } from '../logging/logger.js';
import { metrics } from '../metrics/metrics.js';
import { problemOf } from './problem.js';

/** What the filter needs of an express response. */
interface ProblemResponse {
  headersSent: boolean;
  status(code: number): ProblemResponse;
  type(mime: string): ProblemResponse;
  setHeader(name: string, value: string): unknown;
  send(body: string): unknown;
  end(): unknown;
}

/** Answers everything that is thrown in a request with a problem document; what is our own fault is logged in full. */
@Catch()
export class ProblemFilter implements ExceptionFilter {
  constructor(private readonly logger?: Logger) {}

  catch(thrown: unknown, host: ArgumentsHost): void {
    const response = host.switchToHttp().getResponse<ProblemResponse>();
    const problem = problemOf(thrown);
    if (problem.status < 500) metrics.countRefusal(problem.code);
    else this.logger?.error({ err: thrown, code: problem.code, msg: 'request failed' });
    if (response.headersSent) {
      response.end();
      return;
    }
    if (problem.status === 401) response.setHeader('WWW-Authenticate', 'Bearer');
    response.status(problem.status).type('application/problem+json').send(JSON.stringify(problem));
  }
}
