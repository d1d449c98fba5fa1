import { Register } from './register.js';
import type { Scope } from './record.js';

const mesh: Scope = { scope: 'mesh', id: '' };

describe('the register', () => {
  it('refuses, also after the scope was re-armed, what was admitted before the kill-all', () => {
    const register = new Register();
    register.apply({ kind: 'epoch', at: 1, scope: mesh, epoch: '1' });
    expect(register.refusal('agent', 'default', () => 1n)).toBe('disarmed');
    register.apply({ kind: 'rearmed', at: 2, scope: mesh });
    expect(register.refusal('agent', 'default', () => 0n)).toBe('kill-epoch');
    expect(register.refusal('agent', 'default', () => 1n)).toBeNull();
  });

  it('keeps the epochs of one tenant from another', () => {
    const register = new Register();
    register.apply({ kind: 'epoch', at: 1, scope: { scope: 'tenant', id: 'red' }, epoch: '1' });
    expect(register.refusal('agent', 'red', () => 0n)).toBe('kill-epoch');
    expect(register.refusal('agent', 'blue', () => 0n)).toBeNull();
  });
});
