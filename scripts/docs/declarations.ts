import { readFileSync } from 'node:fs';
import ts from 'typescript';

/** One property of a class or an interface. */
export interface Property {
  name: string;
  /** As it is written, without `undefined`. */
  type: string;
  /** Its docstring in one line; empty where there is none. */
  doc: string;
  /** The initialiser as it is written; undefined where there is none. */
  initial: string | undefined;
  isOptional: boolean;
  /** Arguments of each decorator, by the decorator's name, as they are written. */
  decorators: ReadonlyMap<string, readonly string[]>;
}

/** The properties of the class or interface `name` in `file`, in their order. @throws Error where there is none */
export function propertiesOf(file: URL, name: string): Property[] {
  const source = ts.createSourceFile(file.pathname, readFileSync(file, 'utf8'), ts.ScriptTarget.Latest, true);
  const found = source.statements.find(
    (each) => (ts.isClassDeclaration(each) || ts.isInterfaceDeclaration(each)) && each.name?.text === name,
  );
  if (found === undefined || !(ts.isClassDeclaration(found) || ts.isInterfaceDeclaration(found)))
    throw new Error(`${file.pathname} declares no ${name}`);
  const members: readonly ts.Node[] = found.members;
  return members.flatMap((member) =>
    ts.isPropertyDeclaration(member) || ts.isPropertySignature(member) ? [propertyOf(member, source)] : [],
  );
}

function propertyOf(member: ts.PropertyDeclaration | ts.PropertySignature, source: ts.SourceFile): Property {
  const decorators = ts.isPropertyDeclaration(member) ? (ts.getDecorators(member) ?? []) : [];
  const initial = ts.isPropertyDeclaration(member) ? member.initializer?.getText(source) : undefined;
  return {
    name: member.name.getText(source),
    type: (member.type?.getText(source) ?? '').replace(/\s*\|\s*undefined$/, ''),
    doc: docOf(member),
    initial: initial === 'undefined' ? undefined : initial,
    isOptional: member.questionToken !== undefined,
    decorators: new Map(decorators.map(({ expression }) => decoratorOf(expression, source))),
  };
}

function decoratorOf(expression: ts.Expression, source: ts.SourceFile): [string, string[]] {
  if (!ts.isCallExpression(expression)) return [expression.getText(source), []];
  return [expression.expression.getText(source), expression.arguments.map((argument) => argument.getText(source))];
}

function docOf(member: ts.Node): string {
  const text = ts
    .getJSDocCommentsAndTags(member)
    .map(({ comment }) => ts.getTextOfJSDocComment(comment) ?? '')
    .join(' ');
  return text.replace(/\s+/g, ' ').trim();
}
