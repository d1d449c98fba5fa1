import { Validator } from '@seriousme/openapi-schema-validator';
import type { INestApplication, Type } from '@nestjs/common';
import type { OpenAPIObject } from '@nestjs/swagger';
import ts from 'typescript';
import { Answers } from './answers.ts';
import { classesOf } from './checks.ts';
import { documentOf, type DocumentParts } from './document.ts';
import { type RouteSource, routeSources } from './routes.ts';
import { sourcesFrom } from './sources.ts';

const ORCHESTRATOR = 'apps/orchestrator/src/orchestrator.module.ts';
const HUB = 'apps/hub/src/hub.module.ts';
const PROBLEM = 'libs/platform/src/http/problem.ts';

/** A document of an application's HTTP API. */
export interface ApiDocument {
  app: 'hub' | 'orchestrator';
  document: OpenAPIObject;
}

/**
 * The documents of hub and orchestrator, from the applications themselves: Nest makes them for a look at their routes,
 * with none of their parts, so that neither PostgreSQL nor Valkey is needed and nothing listens.
 *
 * @throws Error where a route says nothing about itself, names a code that there is not, or a document is not valid OpenAPI
 */
export async function apiDocuments(): Promise<ApiDocument[]> {
  const program = sourcesFrom([ORCHESTRATOR, HUB]);
  const problem = declared(program, PROBLEM, 'Problem');
  const statusOf = await statuses();
  const partsOf = async (app: string): Promise<Pick<DocumentParts, 'routes' | 'answers' | 'classes' | 'statusOf'>> => {
    const answers = new Answers(program);
    answers.schemaOf(problem);
    return { routes: routeSources(program, app), answers, classes: await classesOf(program, app), statusOf };
  };
  const { OrchestratorModule } = (await import(urlOf(ORCHESTRATOR))) as { OrchestratorModule: Registered };
  const { HubModule } = (await import(urlOf(HUB))) as { HubModule: Registered };
  const orchestrator = documentOf(await preview(OrchestratorModule.register?.({})), {
    ...(await partsOf('orchestrator')),
    title: 'Capstan orchestrator',
    description:
      'The execution plane of one instance, for its owner and its spoke: a unix socket, and the token of `tokens/orchestrator.token`.',
  });
  const hub = documentOf(await preview(HubModule.with?.({})), {
    ...(await partsOf('hub')),
    title: 'Capstan hub',
    description: 'The record and the orders of a mesh, for its operators; a token of `POST /api/v1/auth/tokens`.',
  });
  for (const document of [orchestrator, hub]) await demandValid(document);
  return [
    { app: 'orchestrator', document: orchestrator },
    { app: 'hub', document: hub },
  ];
}

interface Registered {
  register?: (parts: object) => object;
  with?: (config: object) => object;
}

async function preview(module: object | undefined): Promise<INestApplication> {
  const { NestFactory } = await import('@nestjs/core');
  return NestFactory.create(module as Type, { preview: true, logger: ['error'] });
}

async function statuses(): Promise<(fault: RouteSource['faults'][number]) => number> {
  const { problemOf } = (await import(urlOf(PROBLEM))) as { problemOf: (thrown: unknown) => { status: number } };
  const { FAULTS, LocalFault, WireFault } = (await import(urlOf('libs/protocol/src/index.ts'))) as {
    FAULTS: object;
    LocalFault: new (code: string, sentence: string) => Error;
    WireFault: new (code: string) => Error;
  };
  return ({ code, isWire }) => {
    if (isWire && !(code in FAULTS)) throw new Error(`a route names ${code}, which is no code`);
    return problemOf(isWire ? new WireFault(code) : new LocalFault(code, '')).status;
  };
}

function declared(program: ts.Program, file: string, name: string): ts.Node {
  const source = program.getSourceFiles().find(({ fileName }) => fileName.endsWith(file));
  const node = source?.statements.find((each) => ts.isInterfaceDeclaration(each) && each.name.text === name);
  if (node === undefined) throw new Error(`${file} declares no ${name}`);
  return node;
}

async function demandValid(document: OpenAPIObject): Promise<void> {
  const { valid, errors } = await new Validator().validate({ ...structuredClone(document) });
  if (!valid) throw new Error(`${document.info.title}: no valid OpenAPI: ${JSON.stringify(errors)}`);
}

function urlOf(path: string): string {
  return new URL(`../../../${path}`, import.meta.url).href;
}
