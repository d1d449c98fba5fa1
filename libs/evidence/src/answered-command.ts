import {
  agentOf,
  CommandSchema,
  decodeStrict,
  payloadKind,
  QuerySchema,
  WireFault,
  type Command,
  type Envelope,
  type Header,
  type Query,
  type Receipt,
} from '@capstan/protocol';
import type { ReceiptKind } from './receipt-kind.js';

type Body = Command['body'] | Query['body'];
type BodyCase = NonNullable<Body['case']>;

/** Which receipts can answer what. */
const ANSWERS: Record<BodyCase, readonly ReceiptKind[]> = {
  spawn: ['refused', 'spawned', 'finished'],
  status: ['refused', 'status'],
  kill: ['refused', 'killed'],
  killAll: ['refused', 'killed-all'],
  rearm: ['refused', 'rearmed'],
  probe: ['refused', 'probed'],
  logs: ['refused', 'logs'],
  watch: ['refused', 'logs'],
  catalog: ['refused', 'catalog'],
  agents: ['refused', 'agents'],
};

/**
 * Checks that a receipt whose digest fits a command also says the same as the command: who ordered, which message,
 * which agent, and a result that can follow from it.
 *
 * @throws {WireFault} `receipt-mismatch`; `payload-malformed` or `unknown-field` where the command cannot be read
 */
export function checkAnswers(receipt: Receipt, kind: ReceiptKind, header: Header, command: Envelope): void {
  const ordered = readCommand(command);
  if (ordered.header === undefined || ordered.body.case === undefined) throw mismatch('the command is empty');
  if (ordered.header.issuer !== receipt.commandIssuer || ordered.header.id !== receipt.commandId) throw mismatch('id');
  if (ordered.header.audience !== header.issuer) throw mismatch('the command was for somebody else');
  if (!ANSWERS[ordered.body.case].includes(kind)) throw mismatch(`${kind} does not answer ${ordered.body.case}`);
  const agentId = agentOf(ordered.body);
  // A refusal may name no agent.
  const isNamed = kind !== 'refused' || receipt.agentId !== '';
  if (isNamed && agentId !== receipt.agentId) throw mismatch('another agent');
}

function readCommand(command: Envelope): { header?: Header | undefined; body: Body } {
  switch (payloadKind(command.payloadType)) {
    case 'command':
      return decodeStrict(CommandSchema, command.payload);
    case 'query':
      return decodeStrict(QuerySchema, command.payload);
    default:
      throw mismatch('neither a command nor a query');
  }
}

function mismatch(why: string): WireFault {
  return new WireFault('receipt-mismatch', why);
}
