import { STATUS_CODES } from 'node:http';
import type { INestApplication } from '@nestjs/common';
import { DocumentBuilder, type OpenAPIObject, SwaggerModule } from '@nestjs/swagger';
import type { Answers, Schema } from './answers.ts';
import type { RouteSource } from './routes.ts';

const PROBLEM = 'application/problem+json';
const METHODS = ['get', 'post', 'put', 'patch', 'delete'] as const;

type Operation = NonNullable<OpenAPIObject['paths'][string]['get']>;
interface Response {
  description: string;
  content?: Record<string, { schema: Schema }>;
}

/** What a document needs beside the application. */
export interface DocumentParts {
  title: string;
  description: string;
  routes: ReadonlyMap<string, RouteSource>;
  answers: Answers;
  /** The HTTP status that a code is answered with. @throws Error where there is no such code */
  statusOf: (fault: RouteSource['faults'][number]) => number;
}

/**
 * The document of an application: routes and requests as Nest has them, answers and faults as the source says.
 *
 * @throws Error where a route says nothing about itself
 */
export function documentOf(app: INestApplication, parts: DocumentParts): OpenAPIObject {
  const builder = new DocumentBuilder()
    .setOpenAPIVersion('3.1.0')
    .setTitle(parts.title)
    .setDescription(parts.description)
    .setVersion('1')
    .addBearerAuth({ type: 'http', scheme: 'bearer', bearerFormat: 'opaque' })
    .build();
  const document = SwaggerModule.createDocument(app, builder, {
    operationIdFactory: (controller, method) => `${controller}.${method}`,
  });
  for (const [name, path] of Object.entries(document.paths)) {
    for (const method of METHODS) {
      const operation = path[method];
      if (operation !== undefined) path[method] = described(name, operation, parts);
    }
  }
  const schemas = { ...document.components?.schemas, ...parts.answers.named } as Record<string, Schema>;
  const own: Partial<OpenAPIObject['info']> = document.info;
  delete own.contact;
  return {
    ...document,
    components: { ...document.components, schemas: reachable(schemas, document.paths) },
  };
}

function described(path: string, operation: Operation, parts: DocumentParts): Operation {
  const { operationId = '', parameters = [], requestBody, summary = '', description: _, ...rest } = operation;
  const route = parts.routes.get(operationId);
  if (route === undefined) throw new Error(`${operationId} is in no controller`);
  const isSaid = summary !== '';
  const words = isSaid ? [route.summary, route.description].filter((it) => it !== '').join('. ') : route.description;
  if (!isSaid && route.summary === '') throw new Error(`${operationId} says nothing about itself`);
  const [controller = '', method = ''] = operationId.split('.');
  return {
    summary: isSaid ? summary : route.summary,
    ...(words === '' ? {} : { description: words }),
    ...rest,
    operationId: `${controller.replace(/Controller$/, '').replace(/^./, (first) => first.toLowerCase())}.${method}`,
    parameters: parameters.map((each) => ('in' in each ? parameterOf(path, each) : each)),
    ...(requestBody === undefined || '$ref' in requestBody
      ? {}
      : { requestBody: { ...requestBody, required: !route.isBodyOptional } }),
    security: route.isOpen ? [] : [{ bearer: [] }],
    responses: { ...succeeding(operation, route, parts.answers), ...failing(operation, route, parts) },
  };
}

/** What has a default may be left out; an id in the path is that of what stands before it. */
function parameterOf<P extends { in: string; name: string; schema?: unknown }>(path: string, parameter: P): P {
  const { schema } = parameter;
  if (typeof schema === 'object' && schema !== null && 'default' in schema) return { ...parameter, required: false };
  if (parameter.in !== 'path') return parameter;
  const [, many = ''] = new RegExp(`/([a-z-]+)/\\{${parameter.name}\\}`).exec(path) ?? [];
  const thing = /id$/i.test(parameter.name) ? many.replace(/s$/, '') : parameter.name;
  return { ...parameter, description: thing === 'name' ? 'Its name' : `Id of the ${thing}` };
}

function succeeding(operation: Operation, route: RouteSource, answers: Answers): Record<string, Response> {
  const schema = answers.of(route.method);
  const types =
    route.produces.length > 0 ? route.produces : [schema?.['type'] === 'string' ? 'text/plain' : 'application/json'];
  const content = Object.fromEntries(types.map((type) => [type, { schema: schema ?? { type: 'string' } }]));
  const isEmpty = schema === undefined && route.produces.length === 0;
  return Object.fromEntries(
    Object.entries(operation.responses).map(([status, response]) => {
      const said = (response as { description?: string }).description ?? '';
      const description = said === '' ? (STATUS_CODES[status] ?? 'Done') : said;
      return [status, { description, ...(isEmpty ? {} : { content }) }];
    }),
  );
}

function failing(operation: Operation, route: RouteSource, { statusOf }: DocumentParts): Record<string, Response> {
  const hasInput =
    operation.requestBody !== undefined || (operation.parameters ?? []).some((it) => 'in' in it && it.in === 'query');
  const faults = [
    ...(route.isOpen ? [] : [{ code: 'unauthorized', isWire: true }]),
    ...(hasInput ? [{ code: 'validation', isWire: true }] : []),
    ...route.faults,
  ];
  const byStatus = Map.groupBy(faults, statusOf);
  const responses = [...byStatus].map(([status, each]): [string, Response] => {
    const codes = [...new Set(each.map(({ code }) => code))].sort();
    const narrowed = { allOf: [problem, { properties: { code: { enum: codes } } }] };
    return [
      String(status),
      { description: codes.map((code) => `\`${code}\``).join(', '), content: { [PROBLEM]: { schema: narrowed } } },
    ];
  });
  return {
    ...Object.fromEntries(responses),
    default: { description: 'Anything else', content: { [PROBLEM]: { schema: problem } } },
  };
}

const problem = { $ref: '#/components/schemas/Problem' };

/** Those of the schemas that the paths refer to, by way of others too, by name. */
function reachable(schemas: Readonly<Record<string, Schema>>, paths: unknown): Record<string, Schema> {
  const names = new Set<string>();
  const visit = (value: unknown): void => {
    for (const [, name = ''] of JSON.stringify(value).matchAll(/"#\/components\/schemas\/([^"]+)"/g)) {
      if (names.has(name)) continue;
      names.add(name);
      visit(schemas[name]);
    }
  };
  visit(paths);
  return Object.fromEntries([...names].sort().map((name) => [name, schemas[name] ?? {}]));
}
