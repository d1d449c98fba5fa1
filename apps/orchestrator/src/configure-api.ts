import type { INestApplication } from '@nestjs/common';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { BearerGuard, tokenMatches } from '@capstan/platform';
import { LIMITS } from '@capstan/protocol';

/** An envelope of the largest size in base64, and what JSON puts around it. */
const LARGEST_BODY = Math.ceil((LIMITS.envelopeBytes * 4) / 3) + 1024;

/** Every route asks for the token, but for what is marked open. */
export function configureApi(app: INestApplication, token: string): void {
  app.useGlobalGuards(new BearerGuard(tokenMatches(token)));
  (app as NestExpressApplication).useBodyParser('json', { limit: LARGEST_BODY });
}
