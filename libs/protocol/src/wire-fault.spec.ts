import { FAULTS, faultSentence, isFaultCode } from './faults.js';
import { WireFault } from './wire-fault.js';

/** As peers, logs and dashboards know them: a code is added here, never changed or taken away. */
const PINNED: Record<string, 'never' | 'later'> = {
  'envelope-too-large': 'never',
  'envelope-malformed': 'never',
  'payload-type-unknown': 'never',
  'payload-malformed': 'never',
  'unknown-field': 'never',
  'id-malformed': 'never',
  'signature-missing': 'never',
  'signature-invalid': 'never',
  'key-unknown': 'never',
  'key-revoked': 'never',
  'key-purpose': 'never',
  'key-weak': 'never',
  'wrong-audience': 'never',
  'wrong-direction': 'never',
  'wrong-issuer': 'never',
  'wrong-tenant': 'never',
  expired: 'never',
  'not-yet-valid': 'later',
  'clock-skew': 'later',
  replayed: 'never',
  'receipt-mismatch': 'never',
  'observation-missing': 'never',
  'observation-invalid': 'never',
  'statement-missing': 'never',
  'statement-invalid': 'never',
  'policy-runtime': 'never',
  'policy-repository': 'never',
  'policy-tenant': 'never',
  'policy-concurrency': 'later',
  'policy-budget': 'never',
  'policy-timeout': 'never',
  'policy-sandbox': 'never',
  'policy-limits': 'never',
  'policy-secret': 'never',
  'agent-unknown': 'never',
  'agent-exists': 'never',
  'name-taken': 'never',
  'agent-not-running': 'later',
  'agent-ended': 'never',
  'messages-unsupported': 'never',
  'messages-full': 'later',
  'message-exists': 'never',
  'instance-unknown': 'never',
  'instance-away': 'later',
  'connection-not-active': 'later',
  'connection-transition': 'never',
  'kill-epoch': 'never',
  disarmed: 'later',
  'policy-peer': 'never',
  'policy-operator': 'never',
  'policy-probe': 'later',
  'admission-missing': 'never',
  'admission-invalid': 'never',
  'admission-older': 'later',
  'hop-limit': 'never',
  'route-cycle': 'never',
  'grant-invalid': 'never',
  'grant-widened': 'never',
  'grant-exceeded': 'never',
  'key-statement': 'never',
  'key-fork': 'never',
  'key-unfollowed': 'never',
  'secret-unreadable': 'never',
  'lease-older': 'never',
  'tree-head': 'never',
  'rearm-same-person': 'never',
  tombstoned: 'never',
  'replica-stale': 'later',
  'queue-unavailable': 'later',
  'audit-unavailable': 'later',
  'repository-missing': 'never',
  'repository-unsafe': 'never',
  'repository-empty': 'never',
  'branch-missing': 'never',
  'repository-unavailable': 'later',
  'repository-too-large': 'never',
  'git-credentials': 'later',
  'disk-full': 'later',
  'agent-timeout': 'never',
  'agent-stalled': 'never',
  'lease-expired': 'later',
  'agent-budget': 'never',
  'task-budget': 'never',
  'tenant-budget': 'later',
  'agent-iterations': 'never',
  'agent-no-submit': 'never',
  'agent-context': 'never',
  'agent-no-change': 'never',
  'agent-memory': 'never',
  'agent-disk': 'never',
  'agent-crashed': 'never',
  'model-unavailable': 'later',
  'harvest-refused': 'never',
  'secret-found': 'never',
  'secret-scan-failed': 'later',
  'merge-conflict': 'later',
  'push-rejected': 'later',
  'orchestrator-lost': 'later',
  'sandbox-missing': 'never',
  'sandbox-failed': 'later',
  'enrollment-token': 'never',
  'enrollment-expired': 'never',
  'enrollment-mismatch': 'never',
  'handshake-version': 'never',
  'handshake-signature': 'never',
  'handshake-timeout': 'later',
  'frame-malformed': 'never',
  'frame-too-large': 'never',
  'sequence-gap': 'later',
  'epoch-older': 'never',
  'epoch-jump': 'never',
  'link-silent': 'later',
  'too-many-connections': 'later',
  internal: 'later',
  unauthorized: 'never',
  forbidden: 'never',
  validation: 'never',
  'not-found': 'never',
};

describe('faults', () => {
  it('has exactly the codes and verdicts that peers know', () => {
    const verdicts = Object.entries(FAULTS).map(([code, { retryable }]) => [code, retryable ? 'later' : 'never']);
    expect(Object.fromEntries(verdicts)).toEqual(PINNED);
  });

  it('has one sentence for each code', () => {
    const sentences = Object.values(FAULTS).map(({ sentence }) => sentence);
    expect(new Set(sentences).size).toBe(sentences.length);
    for (const sentence of sentences) expect(sentence).toMatch(/^[A-Z][^\n]+\.$/);
  });

  it('knows its own codes and nothing that objects inherit', () => {
    expect(isFaultCode('expired')).toBe(true);
    expect(isFaultCode('toString')).toBe(false);
    expect(faultSentence('from-the-future')).toContain('from-the-future');
  });

  it('keeps the public sentence apart from the private detail', () => {
    const cause = new Error('inner');
    const fault = new WireFault('expired', 'at 17', { cause });
    expect(fault).toMatchObject({ code: 'expired', retryable: false, detail: 'at 17', cause });
    expect(fault.sentence).not.toContain('17');
  });
});
