import { type KeyRecord, KeyRing, type OpenedSecret, openSecret, SECRET_LIMITS } from '@capstan/identity';
import { CommandSchema, decodeEnvelope, decodeStrict, type SpawnAgent, WireFault } from '@capstan/protocol';
import { Injectable } from '@nestjs/common';
import { SpokeConfig } from '../config/spoke.config.js';
import { SpokeIdentity } from '../instance/spoke-identity.js';
import { OwnerPolicyFile } from '../policy/owner-policy.js';
import { SealingKeyFile } from './sealing-key-file.js';

/** What an agent is to find in its environment, by name. Never written down, never logged. */
export type ClearSecrets = Readonly<Record<string, string>>;

/** Opens what is sealed to this instance. */
@Injectable()
export class Secrets {
  constructor(
    private readonly sealing: SealingKeyFile,
    private readonly identity: SpokeIdentity,
    private readonly policy: OwnerPolicyFile,
    private readonly config: SpokeConfig,
  ) {}

  /**
   * Whether a spawn's secrets can be opened, are signed by whoever signed the spawn, and have names that the owner allows.
   * Somebody else's secret is refused: it would be put into the hands of an agent whose task its sender does not know.
   *
   * @throws WireFault `secret-unreadable`, `policy-secret`, `expired`, `clock-skew`
   */
  async check(spawn: SpawnAgent, signer: KeyRecord): Promise<void> {
    const opened = this.open(spawn, new KeyRing([signer]));
    const allowed = opened.length === 0 ? [] : ((await this.policy.current()).secrets ?? []);
    const refused = opened.find(({ name }) => !allowed.includes(name));
    if (refused !== undefined) throw new WireFault('policy-secret', refused.name);
  }

  /** The secrets of a spawn that was taken, to be handed on. @throws WireFault `secret-unreadable` */
  ofTaken(envelope: Uint8Array): ClearSecrets {
    const { body } = decodeStrict(CommandSchema, decodeEnvelope(envelope).payload);
    if (body.case !== 'spawn') return {};
    return Object.fromEntries(this.open(body.value).map(({ name, value }) => [name, value]));
  }

  /** @param senders left out for a spawn that was checked and taken: it is offered until it is taken, however late. */
  private open({ agentId, secrets }: SpawnAgent, senders?: KeyRing): OpenedSecret[] {
    if (secrets.length === 0) return [];
    if (secrets.length > SECRET_LIMITS.count) throw new WireFault('secret-unreadable', 'too many');
    const key = this.sealing.key;
    if (key === undefined) throw new WireFault('secret-unreadable', 'this instance has no sealing key');
    const audience = this.identity.instanceId;
    const nowMs = this.config.now();
    const opened = secrets.map((sealed) =>
      openSecret({ sealed, key, audience, agentId, nowMs, ...(senders === undefined ? {} : { senders }) }),
    );
    if (new Set(opened.map(({ name }) => name)).size !== opened.length)
      throw new WireFault('secret-unreadable', 'a name twice');
    const bytes = opened.reduce((sum, { value }) => sum + Buffer.byteLength(value), 0);
    if (bytes > SECRET_LIMITS.allBytes) throw new WireFault('secret-unreadable', 'too long together');
    return opened;
  }
}
