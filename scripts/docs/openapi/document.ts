import { STATUS_CODES } from 'node:http';
import type { INestApplication } from '@nestjs/common';
import { DocumentBuilder, type OpenAPIObject, SwaggerModule } from '@nestjs/swagger';
import type { Answers, Schema } from './answers.ts';
import { checkedProperty, checkedSchema, type Class, parametersOf } from './checks.ts';
import type { RouteSource } from './routes.ts';

const PROBLEM = 'application/problem+json';
const METHODS = ['get', 'post', 'put', 'patch', 'delete'] as const;

type Operation = NonNullable<OpenAPIObject['paths'][string]['get']>;
interface Parameter {
  in: string;
  name: string;
  schema?: unknown;
}
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
  /** Controllers and requests by name. */
  classes: ReadonlyMap<string, Class>;
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
  const requests = Object.entries(document.components?.schemas ?? {}).map(([name, schema]): [string, Schema] => {
    const type = parts.classes.get(name);
    return [name, type === undefined ? { ...schema } : checkedSchema({ ...schema }, type)];
  });
  const schemas = { ...Object.fromEntries(requests), ...parts.answers.named };
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
  const type = parts.classes.get(controller);
  if (type === undefined) throw new Error(`${controller} is not exported`);
  const taken = parametersOf(type, method);
  return {
    summary: isSaid ? summary : route.summary,
    ...(words === '' ? {} : { description: words }),
    ...rest,
    operationId: `${controller.replace(/Controller$/, '').replace(/^./, (first) => first.toLowerCase())}.${method}`,
    parameters: parameters.map((each) => ('in' in each ? parameterOf(path, each, taken) : each)),
    ...(requestBody === undefined || '$ref' in requestBody
      ? {}
      : { requestBody: { ...requestBody, required: !route.isBodyOptional } }),
    security: route.isOpen ? [] : [{ bearer: [] }],
    responses: { ...succeeding(operation, route, parts.answers), ...failing(operation, route, parts) },
  };
}

/** What has a default may be left out; an id in the path is that of what stands before it. */
function parameterOf<P extends Parameter>(path: string, bare: P, taken: readonly Class[]): P {
  const parameter = bare.in === 'query' ? { ...bare, schema: checkedIn(taken, bare) } : bare;
  const { schema } = parameter;
  if (typeof schema === 'object' && schema !== null && 'default' in schema) return { ...parameter, required: false };
  if (parameter.in !== 'path') return parameter;
  const [, many = ''] = new RegExp(`/([a-z-]+)/\\{${parameter.name}\\}`).exec(path) ?? [];
  const thing = /id$/i.test(parameter.name) ? many.replace(/s$/, '') : parameter.name;
  return { ...parameter, description: thing === 'name' ? 'Its name' : `Id of the ${thing}` };
}

function checkedIn(taken: readonly Class[], { name, schema }: Parameter): Schema {
  return taken.reduce((known, type) => checkedProperty(known, type, name), { ...(schema as Schema | undefined) });
}

function succeeding(operation: Operation, route: RouteSource, answers: Answers): Record<string, Response> {
  const schema = route.written === undefined ? answers.of(route.method) : answers.schemaOf(route.written);
  const types =
    route.produces.length > 0 ? route.produces : [schema?.['type'] === 'string' ? 'text/plain' : 'application/json'];
  // Of what a route writes itself, only JSON is a value that a schema can say more of.
  const content = Object.fromEntries(
    types.map((type) => [type, { schema: (type === 'application/json' ? schema : undefined) ?? { type: 'string' } }]),
  );
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
    ...(operation.requestBody === undefined ? [] : [{ code: 'envelope-too-large', isWire: true }]),
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
