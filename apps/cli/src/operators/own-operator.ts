import { defaultContextFile, loadContext } from '@capstan/localmesh';
import { LocalFault } from '@capstan/protocol';
import { type OperatorKey, operatorKeyOf } from './operator-key.js';

/**
 * The operator who signs what is no command: by `--key` and `--as`, else the context's own.
 *
 * @throws LocalFault as `operatorKeyOf` and `loadContext`
 */
export async function ownOperator(options: { context?: string; key?: string; as?: string }): Promise<OperatorKey> {
  const { key: sign = true, as } = options;
  // A key that is named needs no mesh.
  const context = sign === true ? await loadContext(options.context ?? defaultContextFile()) : {};
  const operator = await operatorKeyOf({ sign, ...(as === undefined ? {} : { as }) }, context);
  if (operator === undefined) throw new LocalFault('usage', 'No operator key is named.');
  return operator;
}
