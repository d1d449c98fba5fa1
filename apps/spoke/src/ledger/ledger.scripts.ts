import { Script } from '@capstan/platform';

/** Puts an item into the outbox unless it is there; the last three keys are the outbox's order, items and sequence. */
const PUT = `
local function put(digest, item)
  local n = #KEYS
  if redis.call('HSETNX', KEYS[n - 1], digest, item) == 1 then
    redis.call('ZADD', KEYS[n - 2], redis.call('INCR', KEYS[n]), digest)
  end
end
`;

/**
 * The one atomic step of the receiver: replay mark and durable intent, or replay mark and outcome.
 * KEYS entry expiry prunedThrough offers agent | outbox
 * ARGV digest kind agentId envelope acceptedAt pruneAt issuer id tenant receipt receiptDigest item admission
 */
export const RECORD = new Script(`${PUT}
local known = redis.call('HMGET', KEYS[1], 'digest', 'state', 'receipt', 'finished')
if known[1] then return {'known', known[1], known[2], known[3] or '', known[4] or ''} end
if tonumber(ARGV[6]) <= tonumber(redis.call('GET', KEYS[3]) or '0') then return {'pruned'} end
local intent = ARGV[10] == ''
if intent then
  if redis.call('EXISTS', KEYS[5]) == 1 then return {'agent-exists'} end
  redis.call('HSET', KEYS[5], 'issuer', ARGV[7], 'id', ARGV[8], 'digest', ARGV[1], 'acceptedAt', ARGV[5], 'tenant', ARGV[9])
  redis.call('ZADD', KEYS[4], ARGV[5], KEYS[1])
end
redis.call('HSET', KEYS[1], 'digest', ARGV[1], 'kind', ARGV[2], 'agentId', ARGV[3], 'envelope', ARGV[4],
  'acceptedAt', ARGV[5], 'issuer', ARGV[7], 'id', ARGV[8], 'tenant', ARGV[9], 'state', intent and 'accepted' or 'settled')
if ARGV[13] ~= '' then redis.call('HSET', KEYS[1], 'admission', ARGV[13]) end
redis.call('ZADD', KEYS[2], ARGV[6], KEYS[1])
if not intent then
  redis.call('HSET', KEYS[1], 'receipt', ARGV[10])
  put(ARGV[11], ARGV[12])
end
return {'recorded'}
`);

/**
 * The outcome of an intent. A refused spawn leaves its agent's name free.
 * KEYS entry offers agent | outbox; ARGV receipt receiptDigest item isRefused id
 */
export const SETTLE = new Script(`${PUT}
redis.call('ZREM', KEYS[2], KEYS[1])
if redis.call('HGET', KEYS[1], 'state') ~= 'accepted' then return 0 end
redis.call('HSET', KEYS[1], 'state', 'settled', 'receipt', ARGV[1])
if ARGV[4] == '1' and redis.call('HGET', KEYS[3], 'id') == ARGV[5] then redis.call('DEL', KEYS[3]) end
put(ARGV[2], ARGV[3])
return 1
`);

/**
 * An agent's change: the event, at an agent's end the second receipt of its spawn, and the cursor behind both.
 * KEYS cursor entry agent agentExpiry | outbox
 * ARGV cursor eventDigest eventItem agentId finished finishedDigest finishedItem forgetAt
 */
export const PUBLISH = new Script(`${PUT}
put(ARGV[2], ARGV[3])
if ARGV[5] ~= '' and redis.call('EXISTS', KEYS[3]) == 1 and redis.call('HSETNX', KEYS[3], 'finished', '1') == 1 then
  if redis.call('EXISTS', KEYS[2]) == 1 then redis.call('HSET', KEYS[2], 'finished', ARGV[5]) end
  redis.call('ZADD', KEYS[4], ARGV[8], ARGV[4])
  put(ARGV[6], ARGV[7])
end
redis.call('SET', KEYS[1], ARGV[1])
return 1
`);

/** Removes settled entries that are due, and notes through when. KEYS expiry prunedThrough; ARGV now most */
export const PRUNE = new Script(`
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'WITHSCORES', 'LIMIT', 0, ARGV[2])
local through = tonumber(redis.call('GET', KEYS[2]) or '0')
local pruned = 0
for at = 1, #due, 2 do
  if redis.call('HGET', due[at], 'state') ~= 'accepted' then
    redis.call('DEL', due[at])
    redis.call('ZREM', KEYS[1], due[at])
    through = math.max(through, tonumber(due[at + 1]))
    pruned = pruned + 1
  end
end
if pruned > 0 then redis.call('SET', KEYS[2], string.format('%.0f', through)) end
return pruned
`);

/** Forgets agents that ended long ago. KEYS agentExpiry; ARGV now most prefix */
export const FORGET_AGENTS = new Script(`
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
for _, agent in ipairs(due) do
  redis.call('DEL', ARGV[3] .. agent)
  redis.call('ZREM', KEYS[1], agent)
end
return #due
`);

/** KEYS order items sequence; ARGV digest item */
export const PUT_ITEM = new Script(`${PUT}
put(ARGV[1], ARGV[2])
return 1
`);

/** KEYS order items; ARGV digest… */
export const DROP_ITEMS = new Script(`
redis.call('ZREM', KEYS[1], unpack(ARGV))
return redis.call('HDEL', KEYS[2], unpack(ARGV))
`);
