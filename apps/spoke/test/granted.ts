import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  envelopeDigest,
  grantChain,
  keyRecord,
  KeyRing,
  makeAdmission,
  makeGrant,
  makeHeader,
  saveTrust,
  signPayload,
  SigningKey,
  type GrantInit,
} from '@capstan/identity';
import {
  CommandSchema,
  create,
  decodeStrict,
  Direction,
  type Envelope,
  LinkMessageSchema,
  type MessageInitShape,
  newId,
  ReceiptSchema,
  toBinary,
  toHex,
} from '@capstan/protocol';
import { until } from './processes.js';
import type { HeaderChange } from './stand-in-hub.js';
import { POLICY, type SpawnChange, type TestInstance } from './test-instance.js';

type CommandBody = NonNullable<MessageInitShape<typeof CommandSchema>['body']>;

/** Somebody who signs his own commands. */
export class Person {
  readonly key = SigningKey.generate();

  constructor(readonly id: string) {}

  /** A command for the instance, admitted by its hub. */
  command(body: CommandBody, chain: readonly Envelope[] = [], change: HeaderChange = {}): Envelope {
    const header = makeHeader({
      issuer: this.id,
      audience: 'harbor',
      direction: Direction.OPERATOR_TO_SPOKE,
      tenant: 'default',
      hopLimit: 1,
      grantChain: grantChain(chain),
      ...change,
    });
    return signPayload(this.key, 'command', toBinary(CommandSchema, create(CommandSchema, { header, body })));
  }

  spawn(chain: readonly Envelope[] = [], change: SpawnChange = {}): Envelope {
    const value = {
      agentId: `agent-${newId()}`,
      taskId: `task-${newId()}`,
      runtime: 'claude',
      context: { repository: '/srv/repo', workItems: ['do it'] },
      ...change,
    };
    return this.command({ case: 'spawn', value }, chain);
  }

  /** A grant for somebody else. */
  grants(to: Pick<Person, 'id'> & { key: Pick<SigningKey, 'publicKey'> }, over: Partial<GrantInit> = {}): Envelope {
    return makeGrant({
      issuer: this.id,
      key: this.key,
      subject: to.id,
      subjectKey: to.key.publicKey,
      verbs: ['agent.spawn', 'agent.status', 'agent.kill'],
      instances: ['harbor'],
      tenants: ['default'],
      repositories: ['/srv/*'],
      budgetMicroUsd: 2_500_000n,
      depth: 2,
      // One that follows ends before the one that it stands on.
      lifetimeMs: over.parent === undefined ? 3_600_000 : 3_000_000,
      ...over,
    });
  }
}

/** Pins an operator at the instance, and changes its policy, as its owner would. */
export async function pinOperator({ dir }: TestInstance, { id, key }: Person, policy = ''): Promise<void> {
  const ring = new KeyRing([keyRecord(id, key.publicKey, ['command', 'grant'])]);
  await saveTrust(join(dir, 'operators.json'), ring);
  await writeFile(join(dir, 'policy.yaml'), `${POLICY}${policy}`);
}

/** Sends a person's command as its hub would. @returns its digest */
export async function route(
  { hub }: TestInstance,
  command: Envelope,
  { id, key }: Person,
  tenant = 'default',
): Promise<string> {
  const digest = envelopeDigest(command);
  const originKey = keyRecord(id, key.publicKey, ['command', 'grant']);
  const to = { hubId: 'hub', key: hub.key, audience: 'harbor' };
  const admission = makeAdmission({ ...to, digest, originKey, tenant, hopLimit: 0 });
  const link = await hub.link();
  const body = { case: 'routed' as const, value: { envelope: command, admission } };
  await link.send('commands', create(LinkMessageSchema, { body }));
  return toHex(digest);
}

/** What the instance says to a command: the kind of its first receipt, or the code with which it was refused. */
export async function answerTo({ hub }: TestInstance, digest: string): Promise<string> {
  return until(() => {
    const rejection = hub.rejected.find((rejected) => rejected.digest === digest);
    if (rejection !== undefined) return rejection.code;
    const receipt = hub.receipts.find((each) => each.digest === digest);
    if (receipt === undefined) return undefined;
    const { result } = decodeStrict(ReceiptSchema, receipt.envelope.payload);
    return result.case === 'refused' ? `refused: ${result.value.code}` : result.case;
  }, 'an answer');
}
