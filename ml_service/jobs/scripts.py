"""The steps of a queued job's life, as Lua scripts that Redis runs whole or not at all.

A script changes a job's state and tells of it in one go, so neither is there without the other. It checks first what state it finds, so
what comes late or twice changes nothing. Times are the Redis server's, in milliseconds.

Each queue has keys of its own, see `QueueNames`, beside arq's:

- `<state><id>`: a hash, the job's ledger. `tag` is its place in the queue, `run` names the attempt that holds it, `who` is the part of its
  events that never changes. Request and result are kept no longer than the hash.
- `jobs:<queue>:open`: every unfinished job with the time when someone has to look after it. A running job's is its lease.
- `jobs:<queue>:flows` and `:clock`: fair queueing, see `ENQUEUE`.
- `jobs:<queue>:scope:<scope>`: the scope's jobs with the time at which they are forgotten.
- `jobs:<queue>:totals`: counters.
- `jobs:<queue>:wakeups`: no key but a channel, on which idle workers hear that a job has come or returned.

The queue holds only jobs that wait: one that begins leaves it, one that is handed back or whose lease has run out returns to its old place.
The scripts name their keys themselves, so all of them have to be on one Redis, not on a cluster's shards.
"""

from dataclasses import dataclass
from typing import Final

from arq.constants import in_progress_key_prefix, job_key_prefix, retry_key_prefix

from shared.redis_events import EVENT_FIELD, JOB_EVENTS, JOB_EVENTS_LENGTH, TRAINING_EVENTS

WAIT_BUCKETS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
"""Seconds from acceptance to the first start; upper bounds of a histogram."""
OVERDUE_LIMIT: Final = 500
"""How many jobs one call looks after at most: Redis does nothing else meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueNames:
    """What makes one queue different from another.

    Args:
        name: what its keys are called after.
        running: the status of a job that a run has begun.
        state: what precedes a job's id in the key of its ledger.
        arq_ids: what precedes it in arq's keys, which know no queues: an id may be used once in each queue.
        stream, stream_length: where its events go, and how many are kept at least.
        tell: Lua that defines `tell(status, key, rest)`, which tells of a job through `publish(event)`, and `tell_queued(key)` for jobs
            that come or return to the queue.
    """

    name: str
    running: str
    state: str
    arq_ids: str
    stream: str
    stream_length: int
    tell: str

    @property
    def queue(self) -> str:
        """arq's sorted set."""
        return f"arq:queue:{self.name}"

    @property
    def open(self) -> str:
        return f"jobs:{self.name}:open"

    @property
    def totals(self) -> str:
        return f"jobs:{self.name}:totals"

    @property
    def wakeups(self) -> str:
        return f"jobs:{self.name}:wakeups"

    @property
    def prelude(self) -> str:
        """What every script of this queue begins with."""
        keys = f"'{self.queue}', '{self.open}', 'jobs:{self.name}:flows', 'jobs:{self.name}:clock', '{self.totals}', '{self.wakeups}'"
        arq = ", ".join(f"'{prefix}{self.arq_ids}'" for prefix in (job_key_prefix, in_progress_key_prefix, retry_key_prefix))
        return f"""
local QUEUE, OPEN, FLOWS, CLOCK, TOTALS, WAKEUPS = {keys}
local STATE, SCOPE, ARQ_ID, RUNNING = '{self.state}', 'jobs:{self.name}:scope:', '{self.arq_ids}', '{self.running}'
local ARQ_JOB, ARQ_PROGRESS, ARQ_RETRY = {arq}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function publish(event)
  redis.call('XADD', '{self.stream}', 'MAXLEN', '~', {self.stream_length}, '*', '{EVENT_FIELD}', event)
end
{self.tell}
{_COMMON}
"""


_TELL_GENERATION: Final = """
local function tell(status, key, rest)
  publish('{"type":"' .. status .. '",' .. redis.call('HGET', key, 'who') .. rest .. '}')
end

local function tell_queued(key)
end
"""

_TELL_TRAINING: Final = """
-- RFC 3339. The date is Howard Hinnant's civil_from_days (https://howardhinnant.github.io/date_algorithms.html): scripts have no calendar.
local function moment(name, milliseconds)
  if not milliseconds then return '' end
  local seconds = math.floor(milliseconds / 1000)
  local day = math.floor(seconds / 86400) + 719468
  local era = math.floor(day / 146097)
  local of_era = day - era * 146097
  local year = math.floor((of_era - math.floor(of_era / 1460) + math.floor(of_era / 36524) - math.floor(of_era / 146096)) / 365)
  local of_year = of_era - (365 * year + math.floor(year / 4) - math.floor(year / 100))
  local month = math.floor((5 * of_year + 2) / 153)
  local of_month = of_year - math.floor((153 * month + 2) / 5) + 1
  month = month < 10 and month + 3 or month - 9
  year = year + era * 400 + (month <= 2 and 1 or 0)
  return string.format(',"%s":"%04d-%02d-%02dT%02d:%02d:%02d.%03dZ"', name, year, month, of_month,
    math.floor(seconds / 3600) % 24, math.floor(seconds / 60) % 60, seconds % 60, milliseconds % 1000)
end

-- The whole state, which is kept too, as what the status endpoint says.
local function tell(status, key)
  local kept = redis.call('HMGET', key, 'who', 'scope', 'details', 'error', 'created', 'started', 'completed')
  local state = '{' .. kept[1] .. ',"status":"' .. status .. '"' .. (kept[3] or '') .. (kept[4] and ',"error":' .. kept[4] or '') ..
    moment('created_at', kept[5]) .. moment('started_at', kept[6]) .. moment('completed_at', kept[7]) .. '}'
  redis.call('HSET', key, 'state', state)
  publish('{"scope":"' .. kept[2] .. '","state":' .. state .. '}')
end

local function tell_queued(key)
  tell('queued', key)
end
"""

_COMMON: Final = """
-- Gives a job its place in the queue, and wakes the workers that have nothing to do.
local function put(id, tag, lease)
  redis.call('ZADD', QUEUE, tag, ARQ_ID .. id)
  redis.call('ZADD', OPEN, now + lease, id)
  redis.call('PUBLISH', WAKEUPS, '')
end

local function is_open(status)
  return status and status ~= 'completed' and status ~= 'failed' and status ~= 'cancelled'
end

local function holds(key, run)
  return redis.call('HGET', key, 'run') == run
end

-- Puts a job back into its old place. arq may have thrown away its own record of it.
local function queue_again(id, lease)
  local key = STATE .. id
  local kept = redis.call('HMGET', key, 'arq', 'tag')
  redis.call('HSET', key, 'status', 'queued')
  redis.call('HDEL', key, 'run')
  redis.call('SET', ARQ_JOB .. id, kept[1], 'PX', redis.call('PTTL', key))
  redis.call('DEL', ARQ_PROGRESS .. id)
  put(id, kept[2], lease)
  tell_queued(key)
end

-- Ends an open job. The value is JSON; an empty field's name means that there is none.
local function finish(id, status, field, value, ttl)
  local key = STATE .. id
  local before = redis.call('HMGET', key, 'status', 'started', 'flow', 'cost', 'scope', 'claim')
  if not is_open(before[1]) then return 0 end
  if before[2] then
    redis.call('HINCRBY', TOTALS, 'run_count', 1)
    redis.call('HINCRBYFLOAT', TOTALS, 'run_sum', (now - before[2]) / 1000)
  elseif redis.call('ZSCORE', FLOWS, before[3]) then
    redis.call('ZINCRBY', FLOWS, -tonumber(before[4]), before[3])  -- it takes no turn, so its flow's next jobs need not wait for it
  end
  redis.call('HSET', key, 'status', status, 'completed', now)
  local rest = ''
  if field ~= '' then
    redis.call('HSET', key, field, value)
    rest = ',"' .. field .. '":' .. value
  end
  redis.call('HDEL', key, 'request', 'run', 'arq', 'claim')
  if before[6] then redis.call('DEL', before[6]) end
  redis.call('PEXPIRE', key, ttl)
  redis.call('ZADD', SCOPE .. before[5], 'XX', now + ttl, id)
  redis.call('PEXPIRE', SCOPE .. before[5], ttl, 'GT')
  redis.call('ZREM', QUEUE, ARQ_ID .. id)
  redis.call('ZREM', OPEN, id)
  redis.call('DEL', ARQ_JOB .. id, ARQ_PROGRESS .. id, ARQ_RETRY .. id)
  redis.call('HINCRBY', TOTALS, status, 1)
  tell(status, key, rest)
  return 1
end
"""

GENERATION: Final = QueueNames(
    name="generation",
    running="generating",
    state="jobs:state:",
    arq_ids="",
    stream=JOB_EVENTS,
    stream_length=JOB_EVENTS_LENGTH,
    tell=_TELL_GENERATION,
)
TRAINING: Final = QueueNames(
    name="training",
    running="training",
    state="jobs:training:state:",
    arq_ids="training:",
    stream=TRAINING_EVENTS,
    stream_length=2_000,  # each is a whole state, so old ones are of little use
    tell=_TELL_TRAINING,
)

ENQUEUE: Final = """
-- Accepts a job, unless its id or its claim is known or there are too many.
--
-- Its tag, arq's score, makes the queue fair (self-clocked fair queueing; S. J. Golestani, INFOCOM 1994): a flow's next tag is its last
-- one plus the job's cost, but never behind the clock, which shows the tag of what began last. A flow with a thousand jobs has tags far
-- ahead of the clock; another's first job has the next tag and goes first. arq takes scores for milliseconds since 1970 and starts what is
-- past: tags stay far below.
--
-- A claim is a key that only one open job can have; empty for none.
local id, nonce, limit, flow_limit, flow, cost = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6])
local ttl, lease, arq, who, request, options = tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9], ARGV[10], ARGV[11], ARGV[12]
local scope, claim = ARGV[13], ARGV[14]
local key = STATE .. id
local known = redis.call('HGET', key, 'nonce')
if known then return known == nonce and 'accepted' or 'known' end
if claim ~= '' and redis.call('EXISTS', claim) == 1 then return 'claimed' end
if redis.call('ZCARD', QUEUE) >= limit then return 'full' end
local clock = tonumber(redis.call('GET', CLOCK) or '0')
local tag = math.max(clock, tonumber(redis.call('ZSCORE', FLOWS, flow) or '0')) + cost
if tag - clock > flow_limit * cost then return 'flow full' end
redis.call('ZADD', FLOWS, tag, flow)
redis.call('HSET', key, 'status', 'queued', 'nonce', nonce, 'created', now, 'tag', tag, 'flow', flow, 'cost', cost,
  'arq', arq, 'who', who, 'request', request, 'options', options, 'scope', scope)
redis.call('PEXPIRE', key, ttl)
if claim ~= '' then
  redis.call('HSET', key, 'claim', claim)
  redis.call('SET', claim, id, 'PX', ttl)
end
redis.call('ZREMRANGEBYSCORE', SCOPE .. scope, '-inf', now)
redis.call('ZADD', SCOPE .. scope, now + ttl, id)
redis.call('PEXPIRE', SCOPE .. scope, ttl)
redis.call('SET', ARQ_JOB .. id, arq, 'PX', ttl)
put(id, tag, lease)
tell_queued(key)
return 'accepted'
"""

BEGIN: Final = f"""
-- Gives a queued job to a run; nothing if another run holds it or it is over. Asking again is fine, and tells again.
local id, run, lease = ARGV[1], ARGV[2], tonumber(ARGV[3])
local key = STATE .. id
redis.call('ZREM', QUEUE, ARQ_ID .. id)
local held = holds(key, run)
if redis.call('HGET', key, 'status') ~= 'queued' and not held then return false end
redis.call('ZADD', OPEN, now + lease, id)
redis.call('HSET', key, 'status', RUNNING, 'run', run)
local runs = redis.call('HINCRBY', key, 'runs', held and 0 or 1)
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
tell(RUNNING, key, '')
local kept = redis.call('HMGET', key, 'request', 'options')
return {{kept[1], kept[2], now - created, runs}}
"""

FINISH: Final = """
-- Ends an open job, whichever run did it: the first end counts.
return finish(ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5])
"""

FORGET: Final = """
-- Ends a scope's open jobs and drops all that is known of its jobs, oldest first. Returns how many were found.
local ids = redis.call('ZRANGE', SCOPE .. ARGV[1], 0, ARGV[2] - 1)
for _, id in ipairs(ids) do
  finish(id, 'cancelled', '', '', ARGV[3])
  redis.call('DEL', STATE .. id)
  redis.call('ZREM', SCOPE .. ARGV[1], id)
end
return #ids
"""

FORGET_THESE: Final = """
-- Drops all that is known of these jobs, as far as they are the scope's. Those that are open are ended first if ARGV[2] is 1, and else left
-- and counted.
local left = 0
for position = 4, #ARGV do
  local id = ARGV[position]
  if redis.call('ZSCORE', SCOPE .. ARGV[1], id) then
    if ARGV[2] ~= '1' and is_open(redis.call('HGET', STATE .. id, 'status')) then
      left = left + 1
    else
      finish(id, 'cancelled', '', '', ARGV[3])
      redis.call('DEL', STATE .. id)
      redis.call('ZREM', SCOPE .. ARGV[1], id)
    end
  end
end
return left
"""

HAND_BACK: Final = """
-- Returns a running job to the queue, if this run still holds it. It does not count as a run.
if not holds(STATE .. ARGV[1], ARGV[2]) then return 0 end
redis.call('HINCRBY', STATE .. ARGV[1], 'runs', -1)
queue_again(ARGV[1], tonumber(ARGV[3]))
return 1
"""

RENEW: Final = f"""
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
    redis.call('ZREM', QUEUE, ARQ_ID .. id)
  elseif redis.call('ZSCORE', QUEUE, ARQ_ID .. id) then
    redis.call('ZADD', OPEN, now + 3 * lease, id)
  else
    queue_again(id, lease)
  end
end
return lost
"""

TOKENS: Final = """
-- Tells of text that a run has generated, if it still holds the job.
local key = STATE .. ARGV[1]
if not holds(key, ARGV[2]) then return 0 end
for position = 3, #ARGV do
  tell('token', key, ARGV[position])
end
return 1
"""

PROGRESS: Final = """
-- Notes how far a run has come, if it still holds the job; nothing until it has caught up with an earlier one. A job that moves is not
-- forgotten.
local id, run, status, progress, details, ttl = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5], ARGV[6]
local key = STATE .. id
if not holds(key, run) then return 0 end
redis.call('PEXPIRE', key, ttl)
if progress < tonumber(redis.call('HGET', key, 'progress') or '0') then return 0 end
redis.call('HSET', key, 'status', status, 'progress', progress, 'details', details)
tell(status, key)
return 1
"""
