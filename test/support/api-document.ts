import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv, type ValidateFunction } from 'ajv';

interface Operation {
  security: unknown[];
  requestBody?: { content: Record<string, { schema: object }> };
  responses: Record<string, { content?: Record<string, { schema: object }> }>;
}

/** A route as the document has it. */
export interface DocumentedRoute {
  method: string;
  /** With `{id}` where the application has `:id`. */
  path: string;
  isOpen: boolean;
}

/** What a route has answered. */
export interface ApiAnswer {
  status: number;
  /** Its content type. */
  type: string;
  body: unknown;
}

/** A document of docs/reference/openapi, to be held against the running application. */
export class ApiDocument {
  readonly routes: readonly DocumentedRoute[];
  private readonly paths: Record<string, Record<string, Operation>>;
  private readonly ajv = new Ajv({ strict: false, validateSchema: false, validateFormats: false });

  constructor(app: 'hub' | 'orchestrator') {
    const file = join(__dirname, `../../docs/reference/openapi/${app}.json`);
    const document = JSON.parse(readFileSync(file, 'utf8')) as { paths: Record<string, Record<string, Operation>> };
    this.paths = document.paths;
    this.ajv.addSchema(closed(document) as object, 'document');
    this.routes = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, { security }]) => ({
        method: method.toUpperCase(),
        path,
        isOpen: security.length === 0,
      })),
    );
  }

  /** What is wrong with an answer; nothing where it is as documented. @throws Error where none of this kind is documented */
  faultsOf(method: string, path: string, { status, type, body }: ApiAnswer): unknown[] {
    const bare = type.split(';')[0] ?? '';
    const operation = this.paths[path]?.[method.toLowerCase()];
    if (operation?.responses[String(status)]?.content?.[bare] === undefined)
      throw new Error(`${method} ${path} is not said to answer ${String(status)} with ${bare}`);
    const validate = this.at(['paths', path, method.toLowerCase(), 'responses', String(status), 'content', bare]);
    return validate(body) ? [] : (validate.errors ?? []);
  }

  /** Whether a body is one that the route is said to take. */
  takes(method: string, path: string, body: unknown): boolean {
    return this.at(['paths', path, method.toLowerCase(), 'requestBody', 'content', 'application/json'])(body);
  }

  private at(pointer: readonly string[]): ValidateFunction {
    const escaped = [...pointer, 'schema'].map((part) =>
      encodeURIComponent(part.replaceAll('~', '~0').replaceAll('/', '~1')),
    );
    return this.ajv.compile({ $ref: `document#/${escaped.join('/')}` });
  }
}

/** What a schema does not name, an answer must not have: else nobody would notice a field without words. */
function closed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(closed);
  if (typeof value !== 'object' || value === null) return value;
  const inner = Object.fromEntries(Object.entries(value).map(([key, each]) => [key, closed(each)]));
  const isShape = inner['type'] === 'object' && 'properties' in inner && !('additionalProperties' in inner);
  return isShape ? { ...inner, additionalProperties: false } : inner;
}
