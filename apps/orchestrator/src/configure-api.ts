import type { INestApplication } from '@nestjs/common';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { BearerGuard, tokenMatches } from '@capstan/platform';
import { SECRET_LIMITS } from '@capstan/identity';
import { LIMITS } from '@capstan/protocol';

/** An envelope of the largest size and an admission in base64, its secrets, and what JSON puts around them. */
const LARGEST_BODY = Math.ceil((LIMITS.messageBytes * 4) / 3) + 2 * SECRET_LIMITS.allBytes;

/** Every route asks for the token, but for what is marked open. */
export function configureApi(app: INestApplication, token: string): void {
  app.useGlobalGuards(new BearerGuard(tokenMatches(token)));
  (app as NestExpressApplication).useBodyParser('json', { limit: LARGEST_BODY });
}
