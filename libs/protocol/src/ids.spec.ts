import { agentId, instanceId, isMessageId, keyId, newId } from './ids.js';

const fault = expect.objectContaining({ code: 'id-malformed' });

describe('ids', () => {
  it.each(['a', 'quay', 'a-1', '0'.repeat(63)])('takes %s', (id) => {
    expect(agentId(id)).toBe(id);
  });

  it.each(['', 'A', 'a_b', 'a:b', 'a/b', 'ä', 'a\n', '../x', '0'.repeat(64)])('refuses %j', (id) => {
    expect(() => instanceId(id)).toThrow(fault);
  });

  it('refuses a key id that is not k- and 32 hex digits', () => {
    expect(keyId(`k-${'a'.repeat(32)}`)).toHaveLength(34);
    for (const id of ['k-abc', `k-${'A'.repeat(32)}`, 'a'.repeat(34)]) expect(() => keyId(id)).toThrow(fault);
  });

  it('makes UUIDv7s that sort by time', () => {
    const ids = Array.from({ length: 100 }, newId);
    expect(new Set(ids).size).toBe(100);
    expect([...ids].sort()).toEqual(ids);
    expect(ids.every(isMessageId)).toBe(true);
  });

  it('takes no other UUID for a message id', () => {
    expect(isMessageId('2f1f0f7e-5b0a-4c6e-9c1b-0d7f6d1c7f00')).toBe(false);
    expect(isMessageId(newId().toUpperCase())).toBe(false);
    expect(isMessageId('message-1')).toBe(false);
  });
});
