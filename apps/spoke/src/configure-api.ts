import type { INestApplication } from '@nestjs/common';
import { BearerGuard, metrics, tokenMatches } from '@capstan/platform';

/** The owner's door: every route asks for his token, but for what is marked open. */
export function configureApi(app: INestApplication, token: string): void {
  app.useGlobalGuards(new BearerGuard(tokenMatches(token)));
  metrics.withProcessFigures();
}
