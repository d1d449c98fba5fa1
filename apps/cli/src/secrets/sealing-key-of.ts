import { loadTrust, verifyEnvelope } from '@capstan/identity';
import { decodeEnvelope, decodeStrict, EnrollmentSchema, fromBase64, LocalFault, WireFault } from '@capstan/protocol';
import type { OpenContext } from '../open-context.js';

/**
 * The key to which an instance's secrets are sealed, in the instance's own words: its enrolment statement, verified with
 * the key that is pinned here. A hub that names another key gets nothing.
 *
 * @returns raw X25519, 32 bytes
 * @throws LocalFault `instance-unpinned`, `sealing-key-missing`, `trust-file-…`; WireFault `instance-unknown`; HubProblem
 */
export async function sealingKeyOf({ client, context }: OpenContext, instance: string): Promise<Uint8Array> {
  const connection = (await client.connections()).find(({ instanceId }) => instanceId === instance);
  if (connection === undefined) throw new WireFault('instance-unknown', instance);
  const { enrollment } = await client.enrollment(connection.id);
  const envelope = decodeEnvelope(fromBase64(enrollment));
  const keys = await loadTrust(context.trustFile);
  try {
    const { key } = verifyEnvelope(envelope, { kind: 'enrollment', purpose: 'link', keys });
    if (key.owner !== instance) throw new WireFault('wrong-issuer', key.owner);
  } catch (cause) {
    throw new LocalFault(
      'instance-unpinned',
      `The key of ${instance} is not pinned in ${context.trustFile}, or did not sign what the hub shows: nothing is sealed to it.`,
      undefined,
      { cause },
    );
  }
  const { instanceId, sealingKey } = decodeStrict(EnrollmentSchema, envelope.payload);
  if (instanceId !== instance || sealingKey.length !== 32)
    throw new LocalFault('sealing-key-missing', `${instance} has published no key to seal secrets to.`);
  return sealingKey;
}
