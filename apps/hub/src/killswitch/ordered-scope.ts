import { CommandSchema, decodeStrict, type Envelope } from '@capstan/protocol';
import { type Scope, scopeOfWire } from './kill-scope.js';

/** What a kill-all or a re-arming that this hub has signed is about. */
export interface OrderedScope {
  scope: Scope;
  epoch: bigint;
  by: string;
  reason: string;
}

/** Undefined where the command is neither. */
export function orderedScope({ payload }: Envelope): OrderedScope | undefined {
  const { body, header } = decodeStrict(CommandSchema, payload);
  if (body.case !== 'killAll' && body.case !== 'rearm') return undefined;
  const scope = scopeOfWire(body.value);
  if (scope === undefined) return undefined;
  const { epoch, reason } = body.value;
  return { scope, epoch, by: header?.onBehalfOf ?? '', reason };
}
