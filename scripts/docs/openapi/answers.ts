import {
  createFormatter,
  createParser,
  DEFAULT_CONFIG,
  SchemaGenerator,
  type CompletedConfig,
} from 'ts-json-schema-generator';
import ts from 'typescript';

/** A JSON schema; what it refers to is among `components/schemas`. */
export type Schema = Readonly<Record<string, unknown>>;

/** JSON schemas of what routes answer, from their return types, docstrings included. */
export class Answers {
  /** Every named type that an answer has referred to so far. */
  readonly named: Record<string, Schema> = {};
  private readonly generator: SchemaGenerator;

  constructor(program: ts.Program) {
    const config: CompletedConfig = { ...DEFAULT_CONFIG, additionalProperties: true, encodeRefs: false };
    this.generator = new SchemaGenerator(program, createParser(program, config), createFormatter(config), config);
  }

  /** The schema of what a route answers; undefined where that is nothing, or is written by hand. */
  of(method: ts.MethodDeclaration): Schema | undefined {
    const type = awaited(method.type);
    if (type === undefined) throw new Error(`${method.name.getText()} does not say what it answers`);
    return type.kind === ts.SyntaxKind.VoidKeyword ? undefined : this.schemaOf(type);
  }

  /** @param node a type, or the declaration of one */
  schemaOf(node: ts.Node): Schema {
    const {
      $schema: _,
      definitions = {},
      ...schema
    } = renamed(this.generator.createSchemaFromNodes([node])) as {
      $schema?: string;
      definitions?: Record<string, Schema>;
    };
    for (const [name, definition] of Object.entries(definitions)) {
      const known = this.named[name];
      if (known !== undefined && JSON.stringify(known) !== JSON.stringify(definition))
        throw new Error(`two types of answers are named ${name}`);
      this.named[name] = definition;
    }
    // What has no name of its own stands where it is answered.
    const root = String((schema as Schema)['$ref']).replace(/^.*\//, '');
    return root.startsWith('def-') ? (this.named[root] ?? schema) : schema;
  }
}

function awaited(type: ts.TypeNode | undefined): ts.TypeNode | undefined {
  const isPromise = type !== undefined && ts.isTypeReferenceNode(type) && type.typeName.getText() === 'Promise';
  return isPromise ? type.typeArguments?.[0] : type;
}

/** References into a document of OpenAPI; generic types get names that are allowed there. */
function renamed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(renamed);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => {
      if (key === '$ref') return [key, `#/components/schemas/${nameOf(String(inner).slice('#/definitions/'.length))}`];
      if (key !== 'definitions') return [key, renamed(inner)];
      const definitions = Object.entries(inner as Record<string, unknown>);
      return [key, Object.fromEntries(definitions.map(([name, each]) => [nameOf(name), renamed(each)]))];
    }),
  );
}

function nameOf(type: string): string {
  return type.replace(/[^\w.-]+/g, '_').replace(/_$/, '');
}
