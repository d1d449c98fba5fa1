import { bytes, decode, hex, int, type Message, message, messages, text } from '../wire/protobuf.ts';
import { digestOf, isSealedBy } from '../wire/signed.ts';
import { HUB_ID, type Instance } from './instance.ts';

/** Why a receipt of the spoke proves nothing, if so: a hub must not have to believe it. */
export function faultOfReceipt(envelope: Message, command: Message, instance: Instance): string | undefined {
  if (!isSealedBy(envelope, instance.key)) return 'a receipt that the instance has not signed';
  const receipt = decode('Receipt', bytes(envelope, 'payload'));
  const header = message(receipt, 'header');
  const ordered = message(decodeOrder(command), 'header');
  const digest = hex(digestOf(command));
  if (text(header, 'issuer') !== instance.id || text(header, 'audience') !== HUB_ID)
    return 'a receipt of or for another';
  if (int(header, 'direction') !== 2n) return 'a receipt in another direction';
  if (hex(bytes(receipt, 'command_digest')) !== digest) return 'a receipt for another digest';
  if (text(receipt, 'command_id') !== text(ordered, 'id')) return 'a receipt for another id';
  if (text(receipt, 'command_issuer') !== text(ordered, 'issuer')) return 'a receipt for another issuer';
  const killed = message(receipt, 'killed');
  if (receipt['killed'] !== undefined && int(killed, 'outcome') !== 4n) {
    const agentId = text(receipt, 'agent_id');
    return faultOfObservation(bytes(killed, 'observation'), agentId, digest, instance);
  }
  if (receipt['killed_all'] !== undefined)
    return faultOfKillAll(message(receipt, 'killed_all'), decodeOrder(command), digest, instance);
  return receipt['probed'] === undefined
    ? undefined
    : faultOfProbe(bytes(message(receipt, 'probed'), 'answer'), decodeOrder(command), digest, instance);
}

function faultOfObservation(raw: Uint8Array, agentId: string, digest: string, instance: Instance): string | undefined {
  const envelope = decode('Envelope', raw);
  if (!isSealedBy(envelope, instance.reaper)) return 'a death that the reaper has not signed';
  const seen = decode('Observation', bytes(envelope, 'payload'));
  if (text(seen, 'agent_id') !== agentId) return 'a death of another agent';
  return hex(bytes(seen, 'command_digest')) === digest ? undefined : 'a death that another command had ordered';
}

function faultOfKillAll(all: Message, order: Message, digest: string, instance: Instance): string | undefined {
  const envelope = decode('Envelope', bytes(all, 'statement'));
  if (!isSealedBy(envelope, instance.reaper)) return 'a statement that the reaper has not signed';
  const said = decode('KillAllStatement', bytes(envelope, 'payload'));
  const { scope, scope_id } = message(order, 'kill_all');
  if (hex(bytes(said, 'command_digest')) !== digest) return 'a statement for another command';
  if (said['scope'] !== scope || said['scope_id'] !== scope_id) return 'a statement about another scope';
  if (int(said, 'epoch') !== int(message(order, 'kill_all'), 'epoch')) return 'a statement about another epoch';
  const agents = messages(all, 'agents');
  const named = (Array.isArray(said['agents']) ? said['agents'] : []).map(String).sort();
  if (
    agents
      .map((each) => text(each, 'agent_id'))
      .sort()
      .join() !== named.join()
  )
    return 'other agents than stated';
  const deaths = agents.map((each) => ({ id: text(each, 'agent_id'), result: message(each, 'result') }));
  return deaths
    .filter(({ result }) => int(result, 'outcome') !== 4n)
    .map(({ id, result }) => faultOfObservation(bytes(result, 'observation'), id, digest, instance))
    .find((fault) => fault !== undefined);
}

function faultOfProbe(raw: Uint8Array, order: Message, digest: string, instance: Instance): string | undefined {
  const envelope = decode('Envelope', raw);
  if (!isSealedBy(envelope, instance.reaper)) return 'a proof that the reaper has not signed';
  const answer = decode('ProbeAnswer', bytes(envelope, 'payload'));
  if (hex(bytes(answer, 'command_digest')) !== digest) return 'a proof for another command';
  return hex(bytes(answer, 'nonce')) === hex(bytes(message(order, 'probe'), 'nonce')) ? undefined : 'another nonce';
}

function decodeOrder(envelope: Message): Message {
  const type = text(envelope, 'payload_type').includes('.query.') ? 'Query' : 'Command';
  return decode(type, bytes(envelope, 'payload'));
}
