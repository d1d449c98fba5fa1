import { Script } from '@capstan/platform';

/**
 * Sets a sum aside in every scope at once, so that requests of several agents at the same moment cannot pass a limit
 * together. What is not granted in full is granted in part, down to the least that is of use. The same hold, which the client
 * sends again where the reply was lost, is made once.
 *
 * KEYS 1 holds, then one hash per scope. ARGV 1 id of the hold, 2 wanted, 3 least, 4 seconds that the sums are kept, then
 * one limit per scope, empty for none. Answers the sum, or minus the number of the scope that does not allow it.
 */
export const HOLD = new Script(`
local made = redis.call('HGET', KEYS[1], ARGV[1])
if made then return cjson.decode(made).amount end
local grant, least = tonumber(ARGV[2]), tonumber(ARGV[3])
for i = 2, #KEYS do
  local limit = tonumber(ARGV[i + 3])
  if limit then
    local sums = redis.call('HMGET', KEYS[i], 'spent', 'held')
    grant = math.min(grant, limit - (tonumber(sums[1]) or 0) - (tonumber(sums[2]) or 0))
    if grant < least then return 1 - i end
  end
end
local sum = string.format('%d', grant)
for i = 2, #KEYS do
  redis.call('HINCRBY', KEYS[i], 'held', sum)
  redis.call('EXPIRE', KEYS[i], ARGV[4])
end
redis.call('HSET', KEYS[1], ARGV[1], cjson.encode({ amount = grant, scopes = { unpack(KEYS, 2) } }))
return grant
`);

/** Replaces a hold by what it cost, once. KEYS 1 holds, then the hash of each scope. ARGV 1 id, 2 cost, 3 amount held. */
export const SETTLE = new Script(`
if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
for i = 2, #KEYS do
  redis.call('HINCRBY', KEYS[i], 'held', '-' .. ARGV[3])
  redis.call('HINCRBY', KEYS[i], 'spent', ARGV[2])
end
return 1
`);
