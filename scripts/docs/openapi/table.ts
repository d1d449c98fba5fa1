import { type Section, table } from '../section.ts';
import type { ApiDocument } from './openapi.ts';

/** Where a document is written, from the root of the checkout. */
export function fileOf({ app }: ApiDocument): string {
  return `docs/reference/openapi/${app}.json`;
}

/** The routes of an API, for people. */
export function routeTable({ app, document }: ApiDocument): Section {
  const rows = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods as Record<string, { summary?: string; security?: unknown[]; responses: object }>).map(
      ([method, { summary = '', security = [], responses }]) => [
        `\`${method.toUpperCase()} ${path}\``,
        security.length === 0 ? 'open' : 'token',
        summary,
        Object.keys(responses)
          .filter((status) => status !== 'default')
          .join(', '),
      ],
    ),
  );
  return { page: 'docs/reference/api.md', name: app, content: table(['route', 'asks for', 'does', 'answers'], rows) };
}
