import {
  AdmissionSchema,
  CommandSchema,
  create,
  Direction,
  type Envelope,
  KillScope,
  type MessageInitShape,
  toBinary,
} from '@capstan/protocol';
import { proves } from '../../../test/support/proves.js';
import { makeAdmission, verifyAdmission } from './admission.js';
import { envelopeDigest } from './envelope-digest.js';
import { makeHeader, type HeaderInit } from './header.js';
import { keyRecord } from './key-record.js';
import { KeyRing } from './key-ring.js';
import { toPublicKeyRecord } from './public-key-record.js';
import { openRouted, type RoutedTrust } from './routed-command.js';
import { signPayload } from './signed-payload.js';
import { SigningKey } from './signing-key.js';

const hubKey = SigningKey.generate();
const quayKey = SigningKey.generate();
const operatorKey = SigningKey.generate();
const hub = new KeyRing([keyRecord('hub', hubKey.publicKey, ['link', 'command', 'admit'])]);
const quay = keyRecord('quay', quayKey.publicKey, ['command', 'receipt']);
const alice = keyRecord('op-alice', operatorKey.publicKey, ['command', 'grant']);
const trust: RoutedTrust = { hub, operators: new KeyRing([alice]), peers: new KeyRing([quay]) };

type Body = NonNullable<MessageInitShape<typeof CommandSchema>['body']>;
const STATUS: Body = { case: 'status', value: { agentId: 'agent-1' } };

function command(over: Partial<HeaderInit> = {}, body: Body = STATUS, key = quayKey): Envelope {
  const base = { issuer: 'quay', audience: 'harbor', direction: Direction.SPOKE_TO_SPOKE, tenant: 'default' };
  const header = makeHeader({ ...base, hopLimit: 1, ...over });
  return signPayload(key, 'command', toBinary(CommandSchema, create(CommandSchema, { header, body })));
}

function ordered(over: Partial<HeaderInit> = {}): Envelope {
  return command({ issuer: 'op-alice', direction: Direction.OPERATOR_TO_SPOKE, ...over }, STATUS, operatorKey);
}

type AdmissionChange = Partial<Parameters<typeof makeAdmission>[0]>;

function admitted(envelope: Envelope, over: AdmissionChange = {}): Envelope {
  return makeAdmission({
    hubId: 'hub',
    key: hubKey,
    audience: 'harbor',
    digest: envelopeDigest(envelope),
    originKey: quay,
    tenant: 'default',
    hopLimit: 0,
    ...over,
  });
}

function open(envelope: Envelope, admission: Envelope | undefined, believed = trust, audience = 'harbor') {
  return openRouted({ envelope, admission }, believed, audience);
}

/** An admission with a body of the test's own. */
function altered(envelope: Envelope, change: MessageInitShape<typeof AdmissionSchema>): Envelope {
  const payload = create(AdmissionSchema, {
    header: makeHeader({ issuer: 'hub', audience: 'harbor', direction: Direction.HUB_TO_SPOKE }),
    digest: envelopeDigest(envelope),
    route: ['quay', 'hub'],
    tenant: 'default',
    originKey: toPublicKeyRecord(quay),
    ...change,
  });
  return signPayload(hubKey, 'admission', toBinary(AdmissionSchema, payload));
}

describe('a routed command', () => {
  it(
    'of another instance holds by its key and the hub’s admission',
    proves('FED-09', () => {
      const envelope = command();
      expect(open(envelope, admitted(envelope))).toMatchObject({ origin: 'peer', isFirstUse: false, key: quay });
    }),
  );

  it(
    'of an operator holds by the key that the owner has pinned',
    proves('FED-13', () => {
      const envelope = ordered();
      const admission = admitted(envelope, { originKey: alice });
      expect(open(envelope, admission)).toMatchObject({ origin: 'operator', isFirstUse: false });
    }),
  );

  it('of a key in whose place another came later holds for what was issued before, and by a clock no more at all', () => {
    const nowMs = Date.now();
    const replaced = new KeyRing([{ ...quay, validUntil: nowMs }]);
    const [before, after] = [command({ nowMs: nowMs - 1 }), command({ nowMs })];
    const opened = (envelope: Envelope, peers: KeyRing) => open(envelope, admitted(envelope), { ...trust, peers });
    expect(opened(before, replaced).key.keyId).toBe(quay.keyId);
    expect(() => opened(after, replaced)).toThrow('key-revoked');
    expect(() =>
      opened(
        before,
        replaced.withClock(() => nowMs),
      ),
    ).toThrow('key-revoked');
  });

  it('of an instance that is not pinned holds by the hub’s word, and says so', () => {
    const envelope = command();
    const opened = open(envelope, admitted(envelope), { ...trust, peers: new KeyRing() });
    expect(opened).toMatchObject({ origin: 'peer', isFirstUse: true, key: { owner: 'quay' } });
  });

  it(
    'of an operator who is not pinned is refused, whatever the hub vouches for',
    proves('FED-13', () => {
      const envelope = ordered();
      const nobody: RoutedTrust = { ...trust, operators: new KeyRing() };
      expect(() => open(envelope, admitted(envelope, { originKey: alice }), nobody)).toThrow('key-unknown');
      const asPeer = command({ issuer: 'op-alice' }, STATUS, operatorKey);
      // Taken for an instance of that name, which the owner's policy does not know.
      expect(open(asPeer, admitted(asPeer, { originKey: alice }), nobody).origin).toBe('peer');
    }),
  );

  const other = keyRecord('quay', SigningKey.generate().publicKey, ['command']);
  const weak = keyRecord('hub', hubKey.publicKey, ['link', 'command']);
  it.each<[string, () => unknown, string]>([
    ['without an admission', () => open(command(), undefined), 'admission-missing'],
    ['with the admission of another', () => open(command(), admitted(command())), 'admission-invalid'],
    [
      'admitted by a key that was not made for it',
      () => {
        const envelope = command();
        return open(envelope, admitted(envelope), { ...trust, hub: new KeyRing([weak]) });
      },
      'admission-invalid',
    ],
    [
      'admitted by its own issuer',
      () => {
        const envelope = command();
        return open(envelope, admitted(envelope, { hubId: 'quay', key: quayKey }));
      },
      'admission-invalid',
    ],
    [
      'admitted for another instance',
      () => {
        const envelope = command();
        return open(envelope, admitted(envelope, { audience: 'wharf' }));
      },
      'admission-invalid',
    ],
    [
      'for another instance',
      () => {
        const envelope = command({ audience: 'wharf' });
        return open(envelope, admitted(envelope));
      },
      'wrong-audience',
    ],
    [
      'that names another issuer',
      () => {
        const envelope = command({ issuer: 'wharf' });
        return open(envelope, admitted(envelope));
      },
      'wrong-issuer',
    ],
    [
      'whose issuer the hub names otherwise',
      () => {
        const envelope = command();
        return open(envelope, altered(envelope, { route: ['wharf', 'hub'] }));
      },
      'admission-invalid',
    ],
    [
      'with another key than the pinned one',
      () => {
        const key = SigningKey.generate();
        const envelope = command({}, STATUS, key);
        return open(envelope, admitted(envelope, { originKey: keyRecord('quay', key.publicKey, ['command']) }));
      },
      'key-unknown',
    ],
    [
      'whose key the hub names otherwise',
      () => {
        const envelope = command();
        return open(envelope, admitted(envelope, { originKey: other }));
      },
      'admission-invalid',
    ],
    [
      'of another tenant than the admitted one',
      () => {
        const envelope = command();
        return open(envelope, admitted(envelope, { tenant: 'other' }));
      },
      'wrong-tenant',
    ],
    [
      'that may pass no hub',
      () => {
        const envelope = command({ hopLimit: 0 });
        return open(envelope, admitted(envelope));
      },
      'hop-limit',
    ],
    [
      'that the hub lets pass further than its issuer',
      () => {
        const envelope = command();
        return open(envelope, admitted(envelope, { hopLimit: 1 }));
      },
      'hop-limit',
    ],
    [
      'that comes back to its issuer',
      () => {
        const envelope = command({ audience: 'quay' });
        return open(envelope, admitted(envelope, { audience: 'quay' }), trust, 'quay');
      },
      'route-cycle',
    ],
    [
      'that has passed somebody twice',
      () => {
        const envelope = command({ hopLimit: 3 });
        return open(envelope, altered(envelope, { route: ['quay', 'hub', 'wharf', 'hub'] }));
      },
      'route-cycle',
    ],
    [
      'in the direction of the hub’s own',
      () => {
        const envelope = command({ direction: Direction.HUB_TO_SPOKE });
        return open(envelope, admitted(envelope));
      },
      'wrong-direction',
    ],
    [
      'of an instance in the direction of operators',
      () => {
        const envelope = command({ direction: Direction.OPERATOR_TO_SPOKE });
        return open(envelope, admitted(envelope));
      },
      'wrong-direction',
    ],
    [
      'of a key epoch that is over',
      () => {
        const envelope = command({ keyEpoch: 2 });
        return open(envelope, admitted(envelope));
      },
      'key-revoked',
    ],
    [
      'of a revoked operator',
      () => {
        const envelope = ordered();
        const revoked = new KeyRing([{ ...alice, revokedAt: 1 }]);
        return open(envelope, admitted(envelope, { originKey: alice }), { ...trust, operators: revoked });
      },
      'key-revoked',
    ],
    [
      'that only a hub orders',
      () => {
        const envelope = command({}, { case: 'rearm', value: { scope: KillScope.MESH, epoch: 1n } });
        return open(envelope, admitted(envelope));
      },
      'wrong-direction',
    ],
  ])('%s is refused', (_, attempt, code) => {
    expect(attempt).toThrow(code);
  });
});

test('an admission that is not there yet, by the hub’s clock, is asked for again; one that is over is not', () => {
  const envelope = command();
  const want = { keys: hub, audience: 'harbor', digest: envelopeDigest(envelope), nowMs: Date.now() };
  const at = (nowMs: number): Envelope => admitted(envelope, { nowMs });
  expect(() => verifyAdmission(at(Date.now() + 60_000), want)).toThrow('clock-skew');
  expect(() => verifyAdmission(at(Date.now() - 120_000), want)).toThrow('admission-invalid');
  expect(verifyAdmission(at(Date.now()), want).route).toEqual(['quay', 'hub']);
});
