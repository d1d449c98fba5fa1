import { WebSocket } from 'ws';
import { type Answer, ask, type Call, demandPin } from '../wire/http.ts';
import { checkChallenge, nonce, spokeTranscript } from '../wire/handshake.ts';
import { Ended, Wire } from '../wire/link.ts';
import { bytes, encode, hex, int, type Message, message, text, utf8 } from '../wire/protobuf.ts';
import { digestOf, encodeEnvelope, header, type Key, label, makeKey, seal, sha256 } from '../wire/signed.ts';
import { TLSSocket } from 'node:tls';

export interface Invite {
  url: string;
  hubId: string;
  hubKey: string;
  secret: string;
  tlsPin?: string;
  tlsEnds?: 'hub' | 'proxy';
}

export function readInvite(invite: string): Invite {
  const [prefix, content] = invite.split('.');
  if (prefix !== 'capstan-invite-v1' || content === undefined) throw new Error('this is no invitation');
  return JSON.parse(Buffer.from(content, 'base64url').toString()) as Invite;
}

/** An instance that the hostile peer plays. */
export interface Member {
  id: string;
  key: Key;
  reaper: Key;
  invite: Invite;
  /** The enrolment as it was posted. */
  statement: Message;
}

export interface HelloChange {
  hello?: Message;
  /** The key that signs the proof. */
  key?: Key;
  proof?: (transcript: { hello: Uint8Array; challenge: Uint8Array }, honest: Uint8Array) => Uint8Array;
}

const ENDORSE = 'capstan.v1.reaper-endorse';

/** A hub somewhere, reached with invitations and, where it is given, an admin's token. */
export class HubUnderTest {
  readonly url: string;
  private readonly token: string | undefined;
  private readonly invites: string[];
  private readonly first: Invite;
  private number = 0;
  private readonly run = Date.now().toString(36);
  private main: Promise<{ member: Member; link: Wire }> | undefined;
  private readonly wires: Wire[] = [];

  constructor(given: { url: string; invites: readonly string[]; token?: string | undefined }) {
    this.url = given.url.replace(/\/$/, '');
    this.token = given.token;
    this.invites = [...given.invites];
    const first = this.invites[0];
    if (first === undefined) throw new Error('an invitation is needed');
    this.first = readInvite(first);
  }

  get hubId(): string {
    return this.first.hubId;
  }

  get isAdmin(): boolean {
    return this.token !== undefined;
  }

  /** An invitation that nobody has redeemed: one of those given, or, as admin, a new one. */
  async invite(): Promise<Invite> {
    const given = this.invites.shift();
    if (given !== undefined) return readInvite(given);
    const { body } = await this.api('federation/enrollments', { body: { autoApprove: true } });
    return readInvite(String(body['invite']));
  }

  /** `/api/v1/PATH`, with the admin's token. */
  api(path: string, call: Call = {}): Promise<Answer> {
    if (this.token === undefined) throw new Error('this attack needs another invitation, or --token-file');
    return this.post(path, { ...call, token: this.token });
  }

  /** `/api/v1/PATH` as a stranger. */
  post(path: string, call: Call): Promise<Answer> {
    const { tlsPin } = this.first;
    return ask(`${this.url}/api/v1/${path}`, { ...call, ...(tlsPin === undefined ? {} : { tlsPin }) });
  }

  newName(): string {
    this.number += 1;
    return `hostile-${this.run}-${this.number}`;
  }

  /** The enrolment of a new instance, with an attack's changes, signed by `signer`. */
  statement(
    invite: Invite,
    id: string,
    key: Key,
    reaper: Key,
    change: Message = {},
    headerChange: Message = {},
  ): Message {
    const head = { issuer: id, audience: invite.hubId, direction: 'DIRECTION_SPOKE_TO_HUB', ...headerChange };
    return {
      header: header(head),
      instance_id: id,
      display_name: id,
      identity_key: key.raw,
      reaper_key: reaper.raw,
      token_digest: sha256(new Uint8Array(Buffer.from(invite.secret, 'base64url'))),
      capabilities: ['claude'],
      versions: [1],
      reaper_signature: reaper.sign(label(ENDORSE, utf8(id), key.raw)),
      ...change,
    };
  }

  redeem(secret: string, envelope: Message): Promise<Answer> {
    const enrollment = Buffer.from(encodeEnvelope(envelope)).toString('base64');
    return this.post('federation/enrollments/redeem', { body: { secret, enrollment } });
  }

  /** Id of the connection that an enrolment was answered with. */
  async connectionOf({ id }: Member): Promise<string> {
    const { body } = await this.api('federation/connections');
    const list = (Array.isArray(body['list']) ? body['list'] : []) as { id: string; instanceId: string }[];
    return list.find(({ instanceId }) => instanceId === id)?.id ?? '';
  }

  /** A new instance, enrolled as the document says. */
  async enrol(id = this.newName()): Promise<Member> {
    const invite = await this.invite();
    const [key, reaper] = [makeKey(), makeKey()];
    const statement = seal('enrollment', encode('Enrollment', this.statement(invite, id, key, reaper)), key);
    const { status, body } = await this.redeem(invite.secret, statement);
    if (status !== 200) throw new Error(`enrolment: ${JSON.stringify(body)}`);
    return { id, key, reaper, invite, statement };
  }

  /** A bare WebSocket, before the Hello. */
  async socket(options: WebSocket.ClientOptions = {}, protocols: string[] = ['capstan.v1']): Promise<Wire> {
    const wire = new Wire(this.dial(options, protocols));
    this.wires.push(wire);
    await wire.until('open socket', () => (wire.ws.readyState === WebSocket.OPEN ? true : undefined));
    return wire;
  }

  /** The handshake, up to the Welcome, or to how the hub ends it (`Ended`). */
  async handshake(
    member: Member,
    change: HelloChange = {},
  ): Promise<{ wire: Wire; welcome: Message; hello: Uint8Array }> {
    const wire = await this.socket();
    const { id, key } = member;
    const honest = { instance_id: id, key_id: key.id, nonce: nonce(), versions: [1] };
    const hello = wire.send({ hello: { ...honest, ...change.hello } });
    const challenge = await wire.frame('challenge');
    const tls = exporter(member.invite, wire.ws);
    checkChallenge(hello, challenge.body, new Uint8Array(Buffer.from(member.invite.hubKey, 'hex')), tls);
    const signature = (change.key ?? key).sign(spokeTranscript(hello, challenge.raw, tls));
    const proof = change.proof?.({ hello, challenge: challenge.raw }, signature) ?? signature;
    wire.send({ proof: { signature: proof } });
    const { body } = await wire.frame('welcome');
    return { wire, welcome: message(body, 'welcome'), hello };
  }

  /** A link with manners. */
  async link(member: Member): Promise<Wire> {
    return (await this.handshake(member)).wire.live();
  }

  /** The member that most attacks act as, and its link; dialled again where an attack has ended it. */
  async hostile(): Promise<{ member: Member; link: Wire }> {
    const now = await (this.main ??= this.enrol().then(async (member) => ({ member, link: await this.link(member) })));
    if (now.link.end === undefined) return now;
    this.main = this.link(now.member).then((link) => ({ member: now.member, link }));
    return this.main;
  }

  async close(): Promise<void> {
    await Promise.all(this.wires.map((wire) => wire.close()));
  }

  private dial(options: WebSocket.ClientOptions, protocols: string[]): WebSocket {
    const { tlsPin } = this.first;
    const url = `${this.url.replace(/^http/, 'ws')}/federation/link`;
    if (tlsPin === undefined) return new WebSocket(url, protocols, { perMessageDeflate: false, ...options });
    return new WebSocket(url, protocols, {
      perMessageDeflate: false,
      rejectUnauthorized: false,
      ...options,
      finishRequest: (request) => {
        demandPin(request, tlsPin);
        request.end();
      },
    });
  }
}

/** What the hub says of an envelope: `ack`, or `rejection:CODE`. */
export async function verdict(link: Wire, envelope: Message, withinMs = 5_000): Promise<string> {
  return verdictOn(link, digestOf(envelope), () => link.sendMessage('results', { envelope }), withinMs);
}

export async function verdictOn(link: Wire, digest: Uint8Array, send: () => void, withinMs = 5_000): Promise<string> {
  const before = link.messages.length;
  send();
  try {
    return await link.until(
      'verdict',
      () => {
        for (const { body } of link.messages.slice(before)) {
          const [ack, no] = [message(body, 'acknowledgement'), message(body, 'rejection')];
          if (hex(bytes(ack, 'digest')) === hex(digest)) return 'ack';
          if (hex(bytes(no, 'digest')) === hex(digest)) return `rejection:${text(no, 'code')}`;
        }
        return undefined;
      },
      withinMs,
    );
  } catch (error) {
    if (error instanceof Ended) return error.how;
    throw error;
  }
}

/** How a handshake ends that must not succeed. */
export async function refusal(tried: Promise<unknown>): Promise<string> {
  try {
    await tried;
    return 'let in';
  } catch (error) {
    if (error instanceof Ended) return error.how;
    throw error;
  }
}

/** What a Problem document says, or `STATUS`. */
export function answerOf({ status, body }: Answer): string {
  if (status < 300) return 'ok';
  return typeof body['code'] === 'string' ? `problem:${body['code']}` : `http:${String(status)}`;
}

export function sessionEpoch(welcome: Message): bigint {
  return int(welcome, 'session_epoch');
}

function exporter({ tlsEnds }: Invite, ws: WebSocket): Uint8Array | undefined {
  const socket: unknown = Reflect.get(ws, '_socket');
  if (tlsEnds !== 'hub' || !(socket instanceof TLSSocket)) return undefined;
  return new Uint8Array(socket.exportKeyingMaterial(32, 'EXPORTER-capstan-v1', Buffer.alloc(0)));
}
