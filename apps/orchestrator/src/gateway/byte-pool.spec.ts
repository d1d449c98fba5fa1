import { BytePool } from './byte-pool.js';

describe('the memory for requests', () => {
  it('is shared by all agents and bounded for each, and comes back', () => {
    const all = new BytePool(100);
    const [one, other] = [new BytePool(60, all), new BytePool(60, all)];
    const busy = { status: 429, message: 'too much is asked at once' };
    const first = one.lease();
    first.grow(50);
    expect(() => one.lease().grow(20)).toThrow(expect.objectContaining(busy));
    const second = other.lease();
    second.grow(50);
    expect(() => other.lease().grow(1)).toThrow(expect.objectContaining(busy));
    first[Symbol.dispose]();
    first[Symbol.dispose]();
    using third = other.lease();
    third.grow(10);
    expect(() => third.grow(1)).toThrow(expect.objectContaining(busy));
    second[Symbol.dispose]();
  });
});
