import { Script } from '@capstan/platform';

/**
 * Sets a spawn's budget aside in every grant of its chain, or in none. The same order, repeated, is set aside once.
 * KEYS order grant…; ARGV amount grants keepUntil | (budget keepUntil)…, root first
 */
export const RESERVE = new Script(`
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local amount = tonumber(ARGV[1])
for at = 2, #KEYS do
  local spent = tonumber(redis.call('GET', KEYS[at]) or '0')
  if spent + amount > tonumber(ARGV[at * 2]) then return at - 1 end
end
for at = 2, #KEYS do
  redis.call('INCRBY', KEYS[at], ARGV[1])
  redis.call('PEXPIREAT', KEYS[at], ARGV[at * 2 + 1])
end
redis.call('HSET', KEYS[1], 'amount', ARGV[1], 'grants', ARGV[2])
redis.call('PEXPIREAT', KEYS[1], ARGV[3])
return 0
`);

/** Gives back what was set aside for an order that will never run. KEYS order grant… */
export const RELEASE = new Script(`
local amount = redis.call('HGET', KEYS[1], 'amount')
if not amount then return 0 end
for at = 2, #KEYS do
  if redis.call('EXISTS', KEYS[at]) == 1 then redis.call('DECRBY', KEYS[at], amount) end
end
return redis.call('DEL', KEYS[1])
`);
