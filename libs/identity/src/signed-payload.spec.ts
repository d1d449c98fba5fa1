import { create, type Envelope, EnvelopeSchema } from '@capstan/protocol';
import { keyRecord } from './key-record.js';
import { KeyRing } from './key-ring.js';
import { signPayload, verifyEnvelope, type Demand } from './signed-payload.js';
import { SigningKey } from './signing-key.js';

const hub = SigningKey.generate();
const spoke = SigningKey.generate();
const stranger = SigningKey.generate();
const payload = new TextEncoder().encode('payload');
const want = (): Demand => ({
  kind: 'command',
  purpose: 'command',
  keys: new KeyRing([keyRecord('hub', hub.publicKey, ['command']), keyRecord('quay', spoke.publicKey, ['receipt'])]),
});
const fault = (code: string): unknown => expect.objectContaining({ name: 'WireFault', code });

/** One envelope with the signatures of all of them over `payload`. */
function signedBy(...keys: SigningKey[]): Envelope {
  const signatures = keys.flatMap((key) => signPayload(key, 'command', payload).signatures);
  return create(EnvelopeSchema, { ...signPayload(hub, 'command', payload), signatures });
}

describe('verifyEnvelope', () => {
  it('names the pinned key that signed', () => {
    const { key, digest } = verifyEnvelope(signedBy(hub), want());
    expect(key).toMatchObject({ keyId: hub.keyId, owner: 'hub' });
    expect(digest).toHaveLength(32);
  });

  it('has the same digest whatever signatures are there', () => {
    expect(verifyEnvelope(signedBy(stranger, hub), want()).digest).toEqual(
      verifyEnvelope(signedBy(hub), want()).digest,
    );
  });

  it('finds the good signature among others', () => {
    expect(verifyEnvelope(signedBy(stranger, spoke, hub), want()).key.keyId).toBe(hub.keyId);
  });

  it('says how far the best signature came', () => {
    expect(() => verifyEnvelope(signedBy(), want())).toThrow(fault('signature-missing') as Error);
    expect(() => verifyEnvelope(signedBy(stranger), want())).toThrow(fault('key-unknown') as Error);
    expect(() => verifyEnvelope(signedBy(stranger, spoke), want())).toThrow(fault('key-purpose') as Error);
  });

  it('refuses a key from the moment in which it is revoked', () => {
    const demand = want();
    const envelope = signedBy(hub);
    verifyEnvelope(envelope, demand);
    demand.keys.revoke(hub.keyId, 1);
    expect(() => verifyEnvelope(envelope, demand)).toThrow(fault('key-revoked') as Error);
  });

  it('refuses more signatures, and more bytes, than a receiver is willing to look at', () => {
    const nine = signedBy(...Array.from({ length: 8 }, () => stranger), hub);
    expect(() => verifyEnvelope(nine, want())).toThrow(fault('envelope-malformed') as Error);
    const large = { ...signedBy(hub), payload: new Uint8Array(1024 * 1024) };
    expect(() => verifyEnvelope(large, want())).toThrow(fault('envelope-too-large') as Error);
  });

  it('refuses a key id that is the name of something that objects inherit', () => {
    const envelope = signedBy(hub);
    const forged = envelope.signatures.map((signature) => ({ ...signature, keyId: '__proto__' }));
    expect(() => verifyEnvelope({ ...envelope, signatures: forged }, want())).toThrow(fault('key-unknown') as Error);
  });
});
