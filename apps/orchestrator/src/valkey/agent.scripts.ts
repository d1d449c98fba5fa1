import { AGENT_TRANSITIONS, type AgentView } from '@capstan/protocol';
import { CHANNELS } from './keys.js';
import { Script } from '@capstan/platform';
import { TASK_STATE_OF_AGENT } from './task-state.js';

/** The fields of an AgentView; each is kept in the agent's hash as the JSON of its value. */
export const VIEW_FIELDS = [
  'agentId',
  'taskId',
  'state',
  'runtime',
  'queuedAt',
  'startedAt',
  'completedAt',
  'error',
  'harvest',
  'usage',
  'unsandboxed',
  'revision',
  'warnings',
] as const satisfies readonly (keyof AgentView)[];

/** Entries of the stream that are kept, about; older ones are reported as a gap to whoever asks for them. */
const STREAM_LENGTH = 100_000;

const luaList = (items: readonly string[]): string => `{${items.map((item) => JSON.stringify(item)).join(',')}}`;
const luaTable = (entries: Readonly<Record<string, string>>): string =>
  `{${Object.entries(entries)
    .map(([key, value]) => `[${JSON.stringify(key)}]=${value}`)
    .join(',')}}`;
const luaSet = (items: readonly string[]): string => luaTable(Object.fromEntries(items.map((item) => [item, 'true'])));

const legal = luaTable(Object.fromEntries(Object.entries(AGENT_TRANSITIONS).map(([from, to]) => [from, luaSet(to)])));
const taskStates = luaTable(
  Object.fromEntries(Object.entries(TASK_STATE_OF_AGENT).map(([agent, task]) => [agent, JSON.stringify(task)])),
);

/**
 * Shared by every script. The view is put together from JSON fragments, never decoded: Lua's cjson would turn an
 * empty list into an object. `move` is the only place where a state is written, and the table of legal changes is in it.
 *
 * A client whose connection breaks before the reply sends the script again, which may have run already. So each call that
 * makes or moves an agent has a name, and the same one, repeated, is only told what it has done.
 *
 * KEYS 1 agent, 2 task, 3 live, 4 ended, 5 events, 6 started.
 */
const prelude = `
local FIELDS = ${luaList(VIEW_FIELDS)}
local LEGAL = ${legal}
local TASK = ${taskStates}
local function stateOf()
  local json = redis.call('HGET', KEYS[1], 'state')
  return json and cjson.decode(json)
end
local function view()
  local values = redis.call('HMGET', KEYS[1], unpack(FIELDS))
  local parts = {}
  for i, field in ipairs(FIELDS) do parts[i] = '"' .. field .. '":' .. (values[i] or 'null') end
  return '{' .. table.concat(parts, ',') .. '}'
end
local function isAgain(call)
  return redis.call('HGET', KEYS[1], 'call') == call
end
local function publish()
  redis.call('HINCRBY', KEYS[1], 'revision', 1)
  local json = view()
  redis.call('XADD', KEYS[5], 'MAXLEN', '~', ${String(STREAM_LENGTH)}, '*', 'agent', json)
  redis.call('PUBLISH', '${CHANNELS.agents}', json)
  return json
end
local function moveTask(id, state)
  if redis.call('HGET', KEYS[2], 'agentId') ~= id or redis.call('HGET', KEYS[2], 'state') == TASK[state] then return end
  redis.call('HSET', KEYS[2], 'state', TASK[state])
  local json = cjson.encode({ taskId = redis.call('HGET', KEYS[2], 'taskId'), agentId = id, state = TASK[state] })
  redis.call('PUBLISH', '${CHANNELS.tasks}', json)
end
local function move(id, state, nowMs, call)
  local from = stateOf()
  if not LEGAL[from][state] then return false end
  redis.call('HSET', KEYS[1], 'state', '"' .. state .. '"', 'call', call)
  if state == 'spawning' then redis.call('SADD', KEYS[6], id) end
  if state ~= 'spawning' and state ~= 'running' then redis.call('SREM', KEYS[6], id) end
  if next(LEGAL[state]) == nil then
    redis.call('SREM', KEYS[3], id)
    redis.call('ZADD', KEYS[4], nowMs, id)
  end
  moveTask(id, state)
  return true
end
`;

/**
 * Makes an agent in the state queued, once.
 *
 * KEYS 7 agents, 8 unqueued. ARGV 1 agent id, 2 task id, 3 now ms, 4 most live agents, 5 digest of the order, 6 plan,
 * 7 call, then field and JSON of each of the view's fields but agentId.
 */
export const CREATE = new Script(`${prelude}
if isAgain(ARGV[7]) then return {'created', view()} end
if redis.call('EXISTS', KEYS[1]) == 1 then return {'exists', view(), redis.call('HGET', KEYS[1], 'digest')} end
if redis.call('SCARD', KEYS[3]) >= tonumber(ARGV[4]) then return {'full'} end
redis.call('HSETNX', KEYS[1], 'agentId', '"' .. ARGV[1] .. '"')
redis.call('HSET', KEYS[1], 'digest', ARGV[5], 'plan', ARGV[6], 'attempts', 0, 'call', ARGV[7], unpack(ARGV, 8))
redis.call('SADD', KEYS[3], ARGV[1])
redis.call('ZADD', KEYS[7], ARGV[3], ARGV[1])
redis.call('SADD', KEYS[8], ARGV[1])
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[2], 'taskId', ARGV[2], 'agentId', ARGV[1])
moveTask(ARGV[1], 'queued')
return {'created', publish()}
`);

/**
 * queued → spawning for one worker, with a new fencing token: whoever held an older one can no longer write.
 *
 * KEYS 7 fence, 8 unqueued, 9 untidy. ARGV 1 agent id, 2 now ms, 3 call.
 */
export const CLAIM = new Script(`${prelude}
local function claim(json)
  local held = redis.call('HMGET', KEYS[1], 'plan', 'fence', 'attempts')
  return {'claimed', json, held[1], held[2], held[3]}
end
local state = stateOf()
if not state then return {'unknown'} end
if isAgain(ARGV[3]) then return claim(view()) end
if state ~= 'queued' then return {'refused', state} end
redis.call('HSET', KEYS[1], 'fence', redis.call('INCR', KEYS[7]))
redis.call('HINCRBY', KEYS[1], 'attempts', 1)
redis.call('SREM', KEYS[8], ARGV[1])
redis.call('SADD', KEYS[9], ARGV[1])
move(ARGV[1], 'spawning', ARGV[2], ARGV[3])
return claim(publish())
`);

/**
 * Changes fields, and the state where one is named.
 *
 * KEYS 7 unqueued. ARGV 1 agent id, 2 now ms, 3 fencing token or empty for none, 4 state or empty, 5 call, then field and
 * JSON.
 */
export const CHANGE = new Script(`${prelude}
local state = stateOf()
if not state then return {'unknown'} end
if isAgain(ARGV[5]) then return {'changed', view()} end
if ARGV[3] ~= '' and redis.call('HGET', KEYS[1], 'fence') ~= ARGV[3] then return {'fenced'} end
if next(LEGAL[state]) == nil then return {'illegal', state, view()} end
if ARGV[4] ~= '' and not move(ARGV[1], ARGV[4], ARGV[2], ARGV[5]) then return {'illegal', state, view()} end
if ARGV[4] == 'queued' then redis.call('HDEL', KEYS[1], 'fence') end
if ARGV[4] ~= '' then redis.call('SREM', KEYS[7], ARGV[1]) end
if #ARGV > 5 then redis.call('HSET', KEYS[1], unpack(ARGV, 6)) end
return {'changed', publish()}
`);

/**
 * A new fencing token for an agent that runs: its former orchestrator can no longer write. Repeated, it gives a newer one,
 * which is the one that counts.
 *
 * KEYS 7 fence. ARGV 1 agent id.
 */
export const ADOPT = new Script(`${prelude}
if stateOf() ~= 'running' then return {'refused'} end
local fence = redis.call('INCR', KEYS[7])
redis.call('HSET', KEYS[1], 'fence', fence)
return {'adopted', view(), redis.call('HGET', KEYS[1], 'plan'), fence, redis.call('HGET', KEYS[1], 'attempts')}
`);

/** Forgets an agent that has ended. KEYS 7 agents. ARGV 1 agent id. */
export const FORGET = new Script(`${prelude}
local state = stateOf()
if state and next(LEGAL[state]) ~= nil then return 0 end
if redis.call('HGET', KEYS[2], 'agentId') == ARGV[1] then redis.call('DEL', KEYS[2]) end
redis.call('ZREM', KEYS[4], ARGV[1])
redis.call('ZREM', KEYS[7], ARGV[1])
return redis.call('DEL', KEYS[1])
`);
