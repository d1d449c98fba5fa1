/** Prints a session between today's hub and spoke as JSON; once per protocol version, see proto/vectors/README.md. */
import { envelopeDigest, makeHeader, signPayload } from '@capstan/identity';
import {
  CommandSchema,
  create,
  Direction,
  type Envelope,
  fromHex,
  KillEpochSchema,
  LinkMessageSchema,
  type MessageInitShape,
  toBinary,
  toHex,
} from '@capstan/protocol';
import { VERSIONS } from '../src/index.js';
import { linked, middleman, TestHub, until } from './peers.js';
import { keyOf, listen, type RecordedSession } from './recorded-session.js';

type Body = NonNullable<MessageInitShape<typeof LinkMessageSchema>['body']>;

const hubSide = { id: 'hub', seed: '11'.repeat(32), nonce: '33'.repeat(32) };
const spokeSide = { id: 'harbor', seed: '22'.repeat(32), nonce: '44'.repeat(32) };
const protocol = VERSIONS.at(-1) ?? 1;
const frames: RecordedSession['frames'] = [];

function terms({ nonce }: { nonce: string }): { versions: number[]; nonce: () => Uint8Array } {
  return { versions: [protocol], nonce: () => fromHex(nonce) };
}

function command(agentId: string): Envelope {
  const header = makeHeader({ issuer: 'hub', audience: 'harbor', direction: Direction.HUB_TO_SPOKE });
  const body = { case: 'kill' as const, value: { agentId } };
  return signPayload(keyOf(hubSide), 'command', toBinary(CommandSchema, create(CommandSchema, { header, body })));
}

const message = (body: Body) => create(LinkMessageSchema, { body });

await using hub = await TestHub.start(
  {
    spokeKey: keyOf(spokeSide),
    terms: terms(hubSide),
    limits: { heartbeatMs: 5_000, deadAfterMs: 15_000 },
    heartbeat: () => ({
      revocationEpoch: 7n,
      killEpochs: [create(KillEpochSchema, { scope: 'mesh', epoch: 2n })],
      leaseRenewal: new Uint8Array(300).fill(1),
      treeHead: new Uint8Array(200).fill(2),
    }),
  },
  0,
  keyOf(hubSide),
);
await using middle = await middleman(hub, (bytes, from) => {
  frames.push({ from, bytes: toHex(bytes) });
  return bytes;
});
await using spoke = hub.spoke({
  url: middle.url,
  terms: terms(spokeSide),
  heartbeat: () => ({
    revocationEpoch: 6n,
    killEpochs: [create(KillEpochSchema, { scope: 'instance', epoch: 3n })],
    treeHead: new Uint8Array(200).fill(3),
  }),
});
const { hubEnd, spokeEnd } = await linked(hub, spoke);
const heard = { hub: listen(hubEnd), spoke: listen(spokeEnd) };
const [first, second] = [command('agent-1'), command('agent-2')];
const digest = envelopeDigest(first);
const large = { payloadType: first.payloadType, payload: new Uint8Array(17_000).fill(5), signatures: first.signatures };
await hubEnd.send('commands', message({ case: 'envelope', value: first }));
await hubEnd.send('events', message({ case: 'envelope', value: large }));
await hubEnd.send('kill', message({ case: 'envelope', value: second }));
await hubEnd.send('commands', message({ case: 'routed', value: { envelope: first, admission: second } }));
await spokeEnd.send('control', message({ case: 'acknowledgement', value: { digest } }));
const rejection = { digest, code: 'expired', sentence: 'The message has expired.', retryable: false };
await spokeEnd.send('control', message({ case: 'rejection', value: rejection }));
await spokeEnd.send('results', message({ case: 'envelope', value: large }));
await until(() => heard.spoke.messages.commands?.length === 2 && heard.spoke.messages.events?.length === 1);
await until(() => heard.hub.messages.results?.length === 1 && heard.hub.heartbeats.length === 1);
await until(() => heard.spoke.heartbeats.length === 1);
await spokeEnd.close('closed', 'The spoke is going down.');
await until(() => heard.hub.end !== '' && heard.spoke.end !== '');
await spoke.dialer.close();
const session: RecordedSession = {
  protocol,
  hub: hubSide,
  spoke: spokeSide,
  // The dialler may have begun anew before it was closed.
  frames: frames.slice(0, frames.findIndex(({ bytes }) => bytes.startsWith('3a')) + 1),
  heard,
};
process.stdout.write(`${JSON.stringify(session, null, 2)}\n`);
