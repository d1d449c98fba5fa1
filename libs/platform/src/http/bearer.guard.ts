import { createHash, timingSafeEqual } from 'node:crypto';
import {
  type CanActivate,
  type CustomDecorator,
  type ExecutionContext,
  SetMetadata,
  UnauthorizedException,
} from '@nestjs/common';

const OPEN = 'capstan:open';

/** Marks a route, or a controller, that asks for no token. Everything else does. */
export const Open = (): CustomDecorator => SetMetadata(OPEN, true);

/**
 * Demands `Authorization: Bearer <token>` on every route that is not marked `@Open()`, on loopback and unix sockets too.
 * Register it globally: `app.useGlobalGuards(new BearerGuard(tokenMatches(token)))`.
 */
export class BearerGuard implements CanActivate {
  constructor(private readonly isValid: (token: string) => boolean | Promise<boolean>) {}

  async canActivate(context: ExecutionContext): Promise<boolean> {
    const targets: object[] = [context.getHandler(), context.getClass()];
    if (targets.some((target) => Reflect.getMetadata(OPEN, target) === true)) return true;
    const request = context.switchToHttp().getRequest<{ headers: Record<string, string | string[] | undefined> }>();
    const token = bearerOf(request.headers['authorization']);
    if (token !== undefined && (await this.isValid(token))) return true;
    throw new UnauthorizedException('A valid bearer token is needed.');
  }
}

/** The token of an Authorization header; undefined where there is none. */
export function bearerOf(header: string | string[] | undefined): string | undefined {
  const match = typeof header === 'string' ? /^Bearer +([\x21-\x7e]+)$/i.exec(header) : null;
  return match?.[1];
}

/** Compares in constant time; the digests make the lengths equal. */
export function tokenMatches(expected: string): (given: string) => boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  const wanted = digest(expected);
  return (given) => expected !== '' && timingSafeEqual(digest(given), wanted);
}
