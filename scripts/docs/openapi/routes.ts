import ts from 'typescript';

/** What the source says of a route. */
export interface RouteSource {
  method: ts.MethodDeclaration;
  /** First sentence of the docstring; empty without one. */
  summary: string;
  /** The rest of it. */
  description: string;
  /** Codes that its `@throws` tags name, with the class of the fault. */
  faults: readonly { code: string; isWire: boolean }[];
  /** Whether it asks for no token. */
  isOpen: boolean;
  /** Whether the body may be left out. */
  isBodyOptional: boolean;
  /** Media types of what it writes itself. */
  produces: readonly string[];
  /** What it writes itself where that is JSON: the interface of its `@returns {…}`, which stands in the same file. */
  written: ts.InterfaceDeclaration | undefined;
}

/**
 * Every route of the controllers of an app and of the libraries, by `Class.method`.
 *
 * @throws Error where a `@returns` names what the file does not declare
 */
export function routeSources(program: ts.Program, app: string): Map<string, RouteSource> {
  // It is what tells the nodes their parents.
  program.getTypeChecker();
  const found = new Map<string, RouteSource>();
  for (const file of program.getSourceFiles()) {
    if (!file.fileName.endsWith('.controller.ts')) continue;
    if (!file.fileName.includes(`/apps/${app}/`) && !file.fileName.includes('/libs/')) continue;
    for (const statement of file.statements) {
      if (!ts.isClassDeclaration(statement) || statement.name === undefined) continue;
      for (const member of statement.members) {
        if (!ts.isMethodDeclaration(member)) continue;
        found.set(`${statement.name.text}.${member.name.getText()}`, routeSource(statement, member));
      }
    }
  }
  return found;
}

function routeSource(owner: ts.ClassDeclaration, method: ts.MethodDeclaration): RouteSource {
  const text = docOf(method);
  const [summary = ''] = /^.*?\.(?=\s|$)|^.+$/.exec(text) ?? [];
  const body = method.parameters.find((parameter) => argumentsOf(parameter, 'Body') !== undefined);
  return {
    method,
    summary: summary.replace(/\.$/, ''),
    description: text.slice(summary.length).trim(),
    faults: ts
      .getJSDocTags(method)
      .filter((tag) => tag.tagName.text === 'throws')
      .flatMap((tag) => {
        const words = tag.getText();
        const isWire = words.includes('WireFault');
        return [...words.matchAll(/`([a-z-]+)`/g)].map(([, code = '']) => ({ code, isWire }));
      }),
    isOpen: [owner, method].some((node) => argumentsOf(node, 'Open') !== undefined),
    isBodyOptional: body?.questionToken !== undefined,
    produces: (argumentsOf(method, 'ApiProduces') ?? []).flatMap((argument) => wordOf(argument, method)),
    written: writtenBy(method),
  };
}

function writtenBy(method: ts.MethodDeclaration): ts.InterfaceDeclaration | undefined {
  const name = ts.getJSDocReturnTag(method)?.typeExpression?.type.getText();
  if (name === undefined) return undefined;
  const interfaces = method.getSourceFile().statements.filter(ts.isInterfaceDeclaration);
  const found = interfaces.find((each) => each.name.text === name);
  if (found === undefined) throw new Error(`${method.name.getText()} writes ${name}, which its file does not declare`);
  return found;
}

/** A literal, or a constant of the same file that is one. */
function wordOf(argument: ts.Expression, method: ts.Node): string[] {
  if (ts.isStringLiteral(argument)) return [argument.text];
  const constants = method
    .getSourceFile()
    .statements.flatMap((each) => (ts.isVariableStatement(each) ? [...each.declarationList.declarations] : []));
  const value = constants.find(({ name }) => name.getText() === argument.getText())?.initializer;
  return value !== undefined && ts.isStringLiteral(value) ? [value.text] : [];
}

/** The arguments of the decorator of this name; undefined where there is none. */
function argumentsOf(node: ts.HasDecorators, name: string): readonly ts.Expression[] | undefined {
  const calls = (ts.getDecorators(node) ?? []).map(({ expression }) => expression);
  return calls.filter(ts.isCallExpression).find((call) => call.expression.getText() === name)?.arguments;
}

function docOf(node: ts.Node): string {
  const comments = ts.getJSDocCommentsAndTags(node).filter(ts.isJSDoc);
  const text = comments.map(({ comment }) => ts.getTextOfJSDocComment(comment) ?? '').join(' ');
  return text.replace(/\s+/g, ' ').trim();
}
