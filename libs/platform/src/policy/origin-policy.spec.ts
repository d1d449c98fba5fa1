import { proves } from '../../../../test/support/proves.js';
import { checkOrigin, type CommandOrigin, type OriginPolicy } from './origin-policy.js';
import { parsePolicy } from './owner-policy.js';

const SPAWN = `version: 1
spawn:
  runtimes: [claude]
  repositories: []
  tenants: [default]
  concurrency: 1
  budgetMicroUsd: 1
  timeoutMs: 1
  sandboxes: []
`;
const HUB: CommandOrigin = { kind: 'hub' };
const OPERATOR: CommandOrigin = { kind: 'operator' };
const QUAY: CommandOrigin = { kind: 'peer', instance: 'quay' };
const open: OriginPolicy = { demandOperatorSignature: [], peers: [{ instance: 'quay', verbs: ['status', 'kill'] }] };
const strict: OriginPolicy = { ...open, demandOperatorSignature: ['spawn', 'status'] };

describe('the owner’s word on who orders', () => {
  it(
    'can demand an operator’s signature, of which the hub’s and a peer’s are none',
    proves(['FED-13', 'FED-15'], () => {
      expect(() => checkOrigin(strict, 'spawn', HUB)).toThrow('policy-operator');
      expect(() => checkOrigin(strict, 'status', QUAY)).toThrow('policy-operator');
      expect(() => checkOrigin(strict, 'spawn', OPERATOR)).not.toThrow();
      for (const kill of ['kill', 'killAll', 'probe'] as const)
        expect(() => checkOrigin(strict, kill, HUB)).not.toThrow();
    }),
  );

  it('lets other instances order what it names, and nothing by default', () => {
    expect(() => checkOrigin(open, 'status', QUAY)).not.toThrow();
    expect(() => checkOrigin(open, 'spawn', QUAY)).toThrow('policy-peer');
    expect(() => checkOrigin(open, 'kill', { kind: 'peer', instance: 'wharf' })).toThrow('policy-peer');
    expect(() => checkOrigin(parsePolicy(SPAWN), 'kill', QUAY)).toThrow('policy-peer');
  });

  it('stands in the policy file, where a misspelt word is a fault', () => {
    const peers = 'peers:\n  - { instance: quay, verbs: [spawn] }\ndemandOperatorSignature: [spawn, rearm]\n';
    expect(parsePolicy(SPAWN + peers)).toMatchObject({
      peers: [{ instance: 'quay', verbs: ['spawn'] }],
      demandOperatorSignature: ['spawn', 'rearm'],
    });
    for (const wrong of [
      'demandOperatorSignature: [kill]\n',
      'demandOperatorSignature: spawn\n',
      'peers: quay\n',
      'peers: [{ instance: Quay!, verbs: [spawn] }]\n',
      'peers: [{ instance: quay, verbs: [rearm] }]\n',
      'peers: [{ instance: quay, verb: [spawn], verbs: [] }]\n',
    ]) {
      expect(() => parsePolicy(SPAWN + wrong)).toThrow('policy-invalid');
    }
  });
});
