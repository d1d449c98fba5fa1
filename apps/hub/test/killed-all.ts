import { envelopeDigest, makeHeader, signPayload, type SigningKey } from '@capstan/identity';
import {
  type Command,
  create,
  Direction,
  encodeEnvelope,
  type Envelope,
  type KillAllResultSchema,
  KillAllStatementSchema,
  KillOutcome,
  type MessageInitShape,
  type Query,
  toBinary,
} from '@capstan/protocol';

type Stated = MessageInitShape<typeof KillAllStatementSchema>;

interface Ordered {
  envelope: Envelope;
  command: Command | Query;
}

/** An instance of which the reaper's key is at hand. */
interface Reaping {
  instanceId: string;
  reaper: SigningKey;
}

/** One whose reaper says of an agent what it has seen. */
interface Observing<O extends Ordered> extends Reaping {
  observation(order: O, agentId: string, outcome: KillOutcome): Uint8Array;
}

interface KilledAll {
  case: 'killedAll';
  value: MessageInitShape<typeof KillAllResultSchema>;
}

/** The answer to a kill-all: these agents, each observed by the reaper, which says that they are all. */
export function killedAll<O extends Ordered>(
  spoke: Observing<O>,
  order: O,
  agentIds: readonly string[],
  outcome: KillOutcome,
): KilledAll {
  const agents = agentIds.map((agentId) => {
    const isSeen = outcome !== KillOutcome.UNCONFIRMED;
    const observation = isSeen ? spoke.observation(order, agentId, outcome) : new Uint8Array();
    return { agentId, result: { outcome, observation } };
  });
  const statement = killAllStatement(spoke, order, agentIds);
  return { case: 'killedAll', value: { epoch: orderedScope(order).epoch, agents, statement } };
}

/** Which agents a kill-all covers, as its reaper says; `change` and `key` are for those who lie. */
export function killAllStatement(
  { instanceId, reaper }: Reaping,
  order: Ordered,
  agents: readonly string[],
  change: Stated = {},
  key: SigningKey = reaper,
): Uint8Array {
  const statement = create(KillAllStatementSchema, {
    header: makeHeader({ issuer: instanceId, audience: instanceId, direction: Direction.LOCAL }),
    commandDigest: envelopeDigest(order.envelope),
    ...orderedScope(order),
    agents: [...agents],
    raisedAtMs: BigInt(Date.now()),
    bootId: 'boot',
    ...change,
  });
  return encodeEnvelope(signPayload(key, 'kill-all', toBinary(KillAllStatementSchema, statement)));
}

function orderedScope({ command }: Ordered): Required<Pick<Stated, 'scope' | 'scopeId' | 'epoch'>> {
  const { body } = command;
  if (body.case !== 'killAll') throw new Error('that is no kill-all');
  const { scope, scopeId, epoch } = body.value;
  return { scope, scopeId, epoch };
}
