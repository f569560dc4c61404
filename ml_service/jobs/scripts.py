"""The steps of a queued job's life, as Lua scripts that Redis runs whole or not at all.

A script changes a job's state and tells of it in one go, so neither is there without the other. It checks first what state it finds, so
what comes late or twice changes nothing. Times are the Redis server's, in milliseconds.

Keys, beside arq's own:

- `jobs:state:<id>`: a hash, the job's ledger. `tag` is its place in the queue, `run` names the attempt that holds it, `who` is the part of
  its events that never changes. Request and result are kept no longer than the hash.
- `jobs:generation:open`: every unfinished job with the time when someone has to look after it. A running job's is its lease.
- `jobs:generation:flows` and `:clock`: fair queueing, see `ENQUEUE`.
- `jobs:generation:totals`: counters.

The queue holds only jobs that wait: one that begins leaves it, one that is handed back or whose lease has run out returns to its old place.
The scripts name their keys themselves, so all of them have to be on one Redis, not on a cluster's shards.
"""

from typing import Final

from arq.constants import in_progress_key_prefix, job_key_prefix, retry_key_prefix

from shared.redis_events import EVENT_FIELD, JOB_EVENTS, JOB_EVENTS_LENGTH

QUEUE: Final = "arq:queue:generation"
OPEN: Final = "jobs:generation:open"
FLOWS: Final = "jobs:generation:flows"
CLOCK: Final = "jobs:generation:clock"
TOTALS: Final = "jobs:generation:totals"
STATE: Final = "jobs:state:"

WAIT_BUCKETS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
"""Seconds from acceptance to the first start; upper bounds of a histogram."""
OVERDUE_LIMIT: Final = 500
"""How many jobs one call looks after at most: Redis does nothing else meanwhile."""

_PRELUDE: Final = f"""
local QUEUE, OPEN, FLOWS, CLOCK, TOTALS = '{QUEUE}', '{OPEN}', '{FLOWS}', '{CLOCK}', '{TOTALS}'
local STATE, ARQ_JOB, ARQ_PROGRESS, ARQ_RETRY = '{STATE}', '{job_key_prefix}', '{in_progress_key_prefix}', '{retry_key_prefix}'
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function is_open(status)
  return status == 'queued' or status == 'generating'
end

local function tell(kind, key, rest)
  local event = '{{"type":"' .. kind .. '",' .. redis.call('HGET', key, 'who') .. rest .. '}}'
  redis.call('XADD', '{JOB_EVENTS}', 'MAXLEN', '~', {JOB_EVENTS_LENGTH}, '*', '{EVENT_FIELD}', event)
end

local function holds(key, run)
  local held = redis.call('HMGET', key, 'status', 'run')
  return held[1] == 'generating' and held[2] == run
end

-- Puts a job back into its old place. arq may have thrown away its own record of it.
local function queue_again(id, lease)
  local key = STATE .. id
  local kept = redis.call('HMGET', key, 'arq', 'tag')
  redis.call('HSET', key, 'status', 'queued')
  redis.call('HDEL', key, 'run')
  redis.call('SET', ARQ_JOB .. id, kept[1], 'PX', redis.call('PTTL', key))
  redis.call('DEL', ARQ_PROGRESS .. id)
  redis.call('ZADD', QUEUE, kept[2], id)
  redis.call('ZADD', OPEN, now + lease, id)
end
"""

ENQUEUE: Final = (
    _PRELUDE
    + """
-- Accepts a job, unless its id is known or there are too many.
--
-- Its tag, arq's score, makes the queue fair (self-clocked fair queueing; S. J. Golestani, INFOCOM 1994): a flow's next tag is its last
-- one plus the job's cost, but never behind the clock, which shows the tag of what began last. A flow with a thousand jobs has tags far
-- ahead of the clock; another's first job has the next tag and goes first. arq takes scores for milliseconds since 1970 and starts what is
-- past: tags stay far below.
local id, nonce, limit, flow_limit, flow, cost = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6])
local ttl, lease, arq, who, request, tokens = ARGV[7], tonumber(ARGV[8]), ARGV[9], ARGV[10], ARGV[11], ARGV[12]
local key = STATE .. id
local known = redis.call('HGET', key, 'nonce')
if known then return known == nonce and 'accepted' or 'known' end
if redis.call('ZCARD', QUEUE) >= limit then return 'full' end
local clock = tonumber(redis.call('GET', CLOCK) or '0')
local tag = math.max(clock, tonumber(redis.call('ZSCORE', FLOWS, flow) or '0')) + cost
if tag - clock > flow_limit * cost then return 'flow full' end
redis.call('ZADD', FLOWS, tag, flow)
redis.call('HSET', key, 'status', 'queued', 'nonce', nonce, 'created', now, 'tag', tag, 'flow', flow, 'cost', cost,
  'arq', arq, 'who', who, 'request', request, 'tokens', tokens)
redis.call('PEXPIRE', key, ttl)
redis.call('SET', ARQ_JOB .. id, arq, 'PX', ttl)
redis.call('ZADD', QUEUE, tag, id)
redis.call('ZADD', OPEN, now + lease, id)
return 'accepted'
"""
)

BEGIN: Final = (
    _PRELUDE
    + f"""
-- Gives a queued job to a run; nothing if another run holds it or it is over. Asking again is fine, and tells again.
local id, run, lease = ARGV[1], ARGV[2], tonumber(ARGV[3])
local key = STATE .. id
redis.call('ZREM', QUEUE, id)
if redis.call('HGET', key, 'status') ~= 'queued' and not holds(key, run) then return false end
redis.call('ZADD', OPEN, now + lease, id)
redis.call('HSET', key, 'status', 'generating', 'run', run)
local tag = tonumber(redis.call('HGET', key, 'tag'))
if tag > tonumber(redis.call('GET', CLOCK) or '0') then
  redis.call('SET', CLOCK, tag)
  redis.call('ZREMRANGEBYSCORE', FLOWS, '-inf', tag)
end
local created = tonumber(redis.call('HGET', key, 'created'))
if redis.call('HSETNX', key, 'started', now) == 1 then
  local seconds = (now - created) / 1000
  for _, bound in ipairs({{{", ".join(str(bound) for bound in WAIT_BUCKETS)}}}) do
    if seconds <= bound then
      redis.call('HINCRBY', TOTALS, 'wait:' .. bound, 1)
      break
    end
  end
  redis.call('HINCRBY', TOTALS, 'wait_count', 1)
  redis.call('HINCRBYFLOAT', TOTALS, 'wait_sum', seconds)
end
tell('generating', key, '')
local kept = redis.call('HMGET', key, 'request', 'tokens')
return {{kept[1], kept[2], now - created}}
"""
)

FINISH: Final = (
    _PRELUDE
    + """
-- Ends an open job, whichever run did it: the first end counts. The value is JSON; an empty field's name means that there is none.
local id, status, field, value, ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local key = STATE .. id
local before = redis.call('HMGET', key, 'status', 'started', 'flow', 'cost')
if not is_open(before[1]) then return 0 end
if not before[2] and redis.call('ZSCORE', FLOWS, before[3]) then
  redis.call('ZINCRBY', FLOWS, -tonumber(before[4]), before[3])  -- it takes no turn, so its flow's next jobs need not wait for it
end
redis.call('HSET', key, 'status', status, 'completed', now)
local rest = ''
if field ~= '' then
  redis.call('HSET', key, field, value)
  rest = ',"' .. field .. '":' .. value
end
redis.call('HDEL', key, 'request', 'run', 'arq')
redis.call('PEXPIRE', key, ttl)
redis.call('ZREM', QUEUE, id)
redis.call('ZREM', OPEN, id)
redis.call('DEL', ARQ_JOB .. id, ARQ_PROGRESS .. id, ARQ_RETRY .. id)
redis.call('HINCRBY', TOTALS, status, 1)
tell(status, key, rest)
return 1
"""
)

HAND_BACK: Final = (
    _PRELUDE
    + """
-- Returns a running job to the queue, if this run still holds it.
if not holds(STATE .. ARGV[1], ARGV[2]) then return 0 end
queue_again(ARGV[1], tonumber(ARGV[3]))
return 1
"""
)

RENEW: Final = (
    _PRELUDE
    + f"""
-- Renews the leases of runs and names those that hold their job no more. Then, if asked to, looks after what is overdue: jobs whose worker
-- has died, and any that the queue has lost.
local lease, look_after = tonumber(ARGV[1]), ARGV[2] == '1'
local lost = {{}}
for position = 3, #ARGV, 2 do
  local id, run = ARGV[position], ARGV[position + 1]
  if holds(STATE .. id, run) then
    redis.call('ZADD', OPEN, now + lease, id)
  else
    lost[#lost + 1] = run
  end
end
if not look_after then return lost end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', OPEN, '-inf', now, 'LIMIT', 0, {OVERDUE_LIMIT})) do
  if not is_open(redis.call('HGET', STATE .. id, 'status')) then
    redis.call('ZREM', OPEN, id)
    redis.call('ZREM', QUEUE, id)
  elseif redis.call('ZSCORE', QUEUE, id) then
    redis.call('ZADD', OPEN, now + 3 * lease, id)
  else
    queue_again(id, lease)
  end
end
return lost
"""
)

TOKENS: Final = (
    _PRELUDE
    + """
-- Tells of text that a run has generated, if it still holds the job.
local key = STATE .. ARGV[1]
if not holds(key, ARGV[2]) then return 0 end
for position = 3, #ARGV do
  tell('token', key, ARGV[position])
end
return 1
"""
)
