import { envelopeDigest, SigningKey } from '@capstan/identity';
import { Mesh, type ReceiptView } from '@capstan/localmesh';
import {
  ChunkSchema,
  CommandSchema,
  create,
  decodeEnvelope,
  decodeStrict,
  type Envelope,
  type Frame,
  FrameSchema,
  fromBase64,
  Lane,
  newId,
  toBinary,
  toHex,
} from '@capstan/protocol';
import { agentIn, receiptOf, spawnAgent } from '../support/agents.js';
import { proves } from '../support/proves.js';
import { git, TestRepository } from '../support/repository.js';
import { SecondHub } from '../support/second-hub.js';
import { until } from '../support/until.js';

jest.setTimeout(300_000);

const envelopeOf = (base64: string): Envelope => decodeEnvelope(fromBase64(base64));
const digestOf = (base64: string): string => toHex(envelopeDigest(envelopeOf(base64)));

/** The same signature in its other form, S + L: valid for a verifier that forgets to check S (RFC 8032, 5.1.7). */
function malleated(envelope: Envelope): Envelope {
  const order = 2n ** 252n + 27742317777372353535851937790883648493n;
  const signatures = envelope.signatures.map((signature) => {
    const s = Buffer.from(signature.sig.subarray(32)).reverse();
    const other = (BigInt(`0x${s.toString('hex')}`) + order).toString(16).padStart(64, '0');
    const sig = Buffer.concat([signature.sig.subarray(0, 32), Buffer.from(other, 'hex').reverse()]);
    return { ...signature, sig };
  });
  return { ...envelope, signatures };
}

/** A binary WebSocket frame of a server, whole or with its end missing. */
function websocketFrame(payload: Uint8Array, most = payload.length): Buffer {
  const head = Buffer.alloc(10);
  head.writeUInt8(0x82, 0);
  head.writeUInt8(127, 1);
  head.writeBigUInt64BE(BigInt(payload.length), 2);
  return Buffer.concat([head, payload.subarray(0, most)]);
}

function linkFrame(body: Frame['body']): Uint8Array {
  return toBinary(FrameSchema, create(FrameSchema, { body }));
}

describe('who has the hub’s key and its old commands', () => {
  const repository = new TestRepository();
  let mesh: Mesh;
  let hub: SecondHub;
  /** What the real hub had before it went: a finished agent's spawn, and the kill of another. */
  let spawn: { agentId: string; command: Envelope; receipts: string[] };
  let kill: { agentId: string; command: Envelope; receipts: string[] };
  let effects: { refs: string; revisions: number[]; receipts: string[][] };

  const known = ({ command }: ReceiptView, all: ReceiptView[]): { command: Envelope; receipts: string[] } => ({
    command: envelopeOf(command),
    receipts: all
      .filter((each) => each.command === command)
      .map(({ envelope }) => digestOf(envelope))
      .sort(),
  });

  const effectsNow = async (): Promise<typeof effects> => {
    const agents = await Promise.all([spawn, kill].map(({ agentId }) => mesh.client.agent(agentId)));
    return {
      refs: git(mesh.repository?.path ?? '', 'for-each-ref'),
      revisions: agents.map(({ revision }) => revision),
      receipts: agents.map(({ receipts }) => receipts.map(({ envelope }) => digestOf(envelope)).sort()),
    };
  };

  const realHubBack = async (): Promise<void> => {
    await hub[Symbol.asyncDispose]();
    await mesh.hub.process.start();
    await until('the spoke is back', () => mesh.instance('quay').isOnline(mesh.hub));
  };

  beforeAll(async () => {
    mesh = await Mesh.start({ instances: ['quay'], repository: repository.path });
    const first = await spawnAgent(mesh, 'quay');
    const spawned = await receiptOf(mesh, first.agentId, 'spawned');
    await receiptOf(mesh, first.agentId, 'finished');
    spawn = { agentId: first.agentId, ...known(spawned, (await mesh.client.agent(first.agentId)).receipts) };
    const { agentId } = await spawnAgent(mesh, 'quay', { playbook: 'long-run' });
    await agentIn(mesh, agentId, 'running');
    await mesh.client.kill(agentId);
    const killed = await receiptOf(mesh, agentId, 'killed');
    await receiptOf(mesh, agentId, 'finished');
    kill = { agentId, ...known(killed, (await mesh.client.agent(agentId)).receipts) };
    effects = await effectsNow();
    await mesh.hub.process.stop();
    hub = await SecondHub.start(mesh);
    await hub.link();
  });
  afterAll(async () => {
    await hub[Symbol.asyncDispose]();
    await mesh.stop();
    repository[Symbol.dispose]();
  });

  const newSocket = async (): Promise<void> => {
    const had = hub.links.length;
    await hub.links.at(-1)?.close('closed', 'a new socket');
    await hub.link(had);
  };
  const restarted = async (part: 'spoke' | 'orchestrator' | 'reaper'): Promise<void> => {
    const had = hub.links.length;
    mesh.instance('quay')[part].kill('SIGKILL');
    if (part === 'spoke') await hub.link(had);
  };

  it.each<[string, () => Promise<void>]>([
    ['on one socket', () => Promise.resolve()],
    ['on a new socket', newSocket],
    ['after the spoke was killed', () => restarted('spoke')],
    ['after the orchestrator was killed', () => restarted('orchestrator')],
    ['after the reaper was killed', () => restarted('reaper')],
  ])('gets the original receipts and nothing else, %s', (_way, meanwhile) =>
    proves('FED-07', async () => {
      for (const order of [spawn, kill]) await hub.answers(order.command, order.receipts.length);
      await meanwhile();
      expect(await hub.answers(spawn.command, spawn.receipts.length)).toEqual(spawn.receipts);
      expect(await hub.answers(kill.command, 1, 'kill')).toEqual(kill.receipts);
    })(),
  );

  it(
    'cannot use an old command’s id for another',
    proves('FED-07', async () => {
      const { header } = decodeStrict(CommandSchema, spawn.command.payload);
      const body = { case: 'status', value: { agentId: spawn.agentId } } as const;
      expect(await hub.rejection(hub.command('quay', body, { id: header?.id ?? '' }))).toBe('replayed');
    }),
  );

  const statusOf = (change = {}): Envelope =>
    hub.command('quay', { case: 'status', value: { agentId: spawn.agentId } }, change);
  const unknownField = Buffer.from([0xf8, 0x07, 0x01]);

  it.each<[string, () => Envelope]>([
    ['key-unknown', () => hub.sign(statusOf().payload, SigningKey.generate())],
    ['signature-invalid', () => malleated(spawn.command)],
    ['signature-invalid', () => ({ ...statusOf(), payload: spawn.command.payload })],
    ['signature-missing', () => ({ ...spawn.command, signatures: [] })],
    ['wrong-audience', () => hub.command('harbor', { case: 'status', value: { agentId: spawn.agentId } })],
    ['wrong-issuer', () => statusOf({ issuer: 'another-hub' })],
    ['expired', () => statusOf({ nowMs: Date.now() - 120_000 })],
    ['clock-skew', () => statusOf({ nowMs: Date.now() + 120_000 })],
    ['unknown-field', () => hub.sign(Buffer.concat([statusOf().payload, unknownField]))],
    ['payload-malformed', () => hub.sign(statusOf().payload.subarray(0, -2))],
    ['payload-type-unknown', () => ({ ...statusOf(), payloadType: 'application/vnd.capstan.command.v9+protobuf' })],
  ])('is refused with %s', (code, make) =>
    proves('FED-06', async () => {
      expect(await hub.rejection(make())).toBe(code);
    })(),
  );

  it.each<[string, () => Envelope]>([
    ['key-unknown', () => hub.sign(kill.command.payload, SigningKey.generate())],
    ['signature-invalid', () => malleated(kill.command)],
    ['wrong-audience', () => hub.command('harbor', { case: 'kill', value: { agentId: kill.agentId } })],
  ])('is refused with %s, also where it is a kill', (code, make) =>
    proves('FED-06', async () => {
      expect(await hub.rejection(make(), 'kill')).toBe(code);
    })(),
  );

  it.each<[string, string, () => Buffer]>([
    ['noise', 'frame-malformed', () => websocketFrame(Buffer.from('not a frame of ours'))],
    ['a frame above the limit', 'frame-too-large', () => websocketFrame(Buffer.alloc(70_000))],
    [
      'half a link message',
      'frame-malformed',
      () => websocketFrame(linkFrame({ case: 'chunk', value: chunk(1n, spawn.command.payload.subarray(0, 40)) })),
    ],
    ['a gap', 'sequence-gap', () => websocketFrame(linkFrame({ case: 'chunk', value: chunk(99n, Buffer.from([1])) }))],
  ])('loses its link for %s', (_what, code, bytes) =>
    proves('FED-06', async () => {
      const link = await hub.link();
      hub.sockets.at(-1)?.write(bytes());
      expect((await link.closed).code).toBe(code);
      await hub.link(hub.links.indexOf(link) + 1);
    })(),
  );

  it(
    'gains nothing by a frame that is cut off',
    proves('FED-06', async () => {
      const had = hub.links.length;
      const socket = hub.sockets.at(-1);
      socket?.write(websocketFrame(spawn.command.payload, 20), () => socket.destroy());
      await hub.link(had);
      expect(await hub.answers(spawn.command, spawn.receipts.length)).toEqual(spawn.receipts);
    }),
  );

  it(
    'is not even linked to with another key',
    proves('FED-04', async () => {
      await hub[Symbol.asyncDispose]();
      await using stranger = await SecondHub.start(mesh, SigningKey.generate());
      await until('the spoke turns away', () => stranger.refused.includes('key-unknown'));
      expect(stranger.links).toEqual([]);
      await stranger[Symbol.asyncDispose]();
      hub = await SecondHub.start(mesh);
    }),
  );

  it(
    'has changed nothing when the real hub is back, and the mesh works on',
    proves(['FED-06', 'FED-07'], async () => {
      await realHubBack();
      expect(await effectsNow()).toEqual(effects);
      const { agentId } = await spawnAgent(mesh, 'quay', { agentId: newId() });
      expect((await agentIn(mesh, agentId, 'completed', 'failed')).state).toBe('completed');
    }),
  );
});

/** On a lane that no hub uses, so that its sequences are free. */
function chunk(sequence: bigint, data: Uint8Array) {
  return create(ChunkSchema, { lane: Lane.EVENTS, sequence, data, last: true });
}
