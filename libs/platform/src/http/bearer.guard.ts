import { createHash, timingSafeEqual } from 'node:crypto';
import {
  type CanActivate,
  createParamDecorator,
  type CustomDecorator,
  type ExecutionContext,
  SetMetadata,
  UnauthorizedException,
} from '@nestjs/common';

const OPEN = 'capstan:open';

/** Marks a route, or a controller, that asks for no token. Everything else does. */
export const Open = (): CustomDecorator => SetMetadata(OPEN, true);

interface BearerRequest {
  headers: Record<string, string | string[] | undefined>;
  /** Name of the token that opened the route; set by the guard alone. */
  caller?: string;
}

/** The name of the token that a request came with, as a parameter of a route: who orders. Empty on open routes. */
export const Caller = createParamDecorator(
  (_: unknown, context: ExecutionContext): string => context.switchToHttp().getRequest<BearerRequest>().caller ?? '',
);

/**
 * Demands `Authorization: Bearer <token>` on every route that is not marked `@Open()`, on loopback and unix sockets too.
 * Register it globally: `app.useGlobalGuards(new BearerGuard(tokenMatches(token)))`.
 */
export class BearerGuard implements CanActivate {
  /** @param identify whether a token is good, or whose it is: the name reaches the routes by `@Caller()`. */
  constructor(private readonly identify: (token: string) => boolean | string | undefined | Promise<boolean>) {}

  async canActivate(context: ExecutionContext): Promise<boolean> {
    const targets: object[] = [context.getHandler(), context.getClass()];
    if (targets.some((target) => Reflect.getMetadata(OPEN, target) === true)) return true;
    const request = context.switchToHttp().getRequest<BearerRequest>();
    const token = bearerOf(request.headers['authorization']);
    const whose = token === undefined ? false : await this.identify(token);
    if (typeof whose === 'string' && whose !== '') request.caller = whose;
    if (whose === true || (typeof whose === 'string' && whose !== '')) return true;
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
