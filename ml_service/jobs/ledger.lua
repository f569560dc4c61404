-- The steps of a queued job's life. Redis runs a script whole or not at all: a job's state and its event are written together. A step first
-- checks the state that it finds, so what comes late or twice changes nothing. Times are the Redis server's, in milliseconds.
--
-- Python puts the queue's constants in front (`QueueSpec`, and what arq needs). A queue's keys, beside arq's own:
--
--   jobs:<queue>:job:<id>       hash, the job: `identity` and `details` are the inside of its state's JSON before and after the status,
--                               `tag` is its place in the queue, `lease` names the run that holds it
--   jobs:<queue>:open           sorted set, unfinished jobs by the time when someone has to look after them: the end of a running one's lease
--   jobs:<queue>:waiting        hash, how many jobs of each scope wait
--   jobs:<queue>:clock          the highest tag that has begun
--   jobs:<queue>:scope:<scope>  sorted set, the scope's jobs by the time at which they are forgotten
--   jobs:<queue>:totals         hash, counters
--   jobs:<queue>:wakeups        no key but a channel, on which workers hear that a job has come or returned
--
-- arq's sorted set holds only jobs that wait: one that begins leaves it, one that is handed back or whose lease has run out returns to its
-- old place. Keys are made up here, so all of them have to be on one Redis, not on a cluster's shards.

local PREFIX = 'jobs:' .. NAME .. ':'
local JOB, SCOPE = PREFIX .. 'job:', PREFIX .. 'scope:'
local QUEUE, OPEN, WAITING, CLOCK = 'arq:queue:' .. NAME, PREFIX .. 'open', PREFIX .. 'waiting', PREFIX .. 'clock'
local TOTALS, WAKEUPS = PREFIX .. 'totals', PREFIX .. 'wakeups'

local OVERDUE_LIMIT = 500  -- jobs that one call looks after at most: Redis does nothing else meanwhile

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function get(id, field)
  return redis.call('HGET', JOB .. id, field)
end

-- False also of a job that is not known.
local function is_open(id)
  local status = get(id, 'status')
  return status and status ~= 'completed' and status ~= 'failed' and status ~= 'cancelled'
end

local function holds(id, lease)
  return get(id, 'lease') == lease
end

-- The inside of the state's JSON.
local function state(id)
  local kept = redis.call('HMGET', JOB .. id, 'identity', 'status', 'details')
  return kept[1] .. ',"status":"' .. kept[2] .. '"' .. kept[3]
end

local function publish(event)
  redis.call('XADD', STREAM, 'MAXLEN', '~', STREAM_LENGTH, '*', EVENT_FIELD, event)
end

local function publish_state(id)
  local scope = '{"scope":"' .. get(id, 'scope') .. '",'
  if WHOLE_STATES then
    publish(scope .. '"state":{' .. state(id) .. '}}')
  else
    publish(scope .. '"type":"' .. get(id, 'status') .. '",' .. state(id) .. '}')
  end
end

-- Puts a job into its place in the queue, and wakes the workers that have nothing to do. arq may have thrown away its own record.
local function wait(id)
  local key = JOB .. id
  local kept = redis.call('HMGET', key, 'tag', 'scope')
  redis.call('HSET', key, 'status', 'queued')
  redis.call('HDEL', key, 'lease')
  redis.call('SET', ARQ_JOB .. id, ARQ_RECORD, 'PX', redis.call('PTTL', key))
  redis.call('DEL', ARQ_IN_PROGRESS .. id)
  redis.call('ZADD', OPEN, now + LEASE_MS, id)
  if redis.call('ZADD', QUEUE, kept[1], ARQ_ID .. id) == 1 then redis.call('HINCRBY', WAITING, kept[2], 1) end
  redis.call('PUBLISH', WAKEUPS, '')
  if WHOLE_STATES then publish_state(id) end
end

local function leave_queue(id)
  if redis.call('ZREM', QUEUE, ARQ_ID .. id) == 0 then return end
  local scope = get(id, 'scope')
  if scope and redis.call('HINCRBY', WAITING, scope, -1) <= 0 then redis.call('HDEL', WAITING, scope) end
end

-- Ends an open job, whichever run asks for it: the first end counts. The figures of a completed one replace what was reported.
local function finish(id, status, completed_at, details)
  if not is_open(id) then return 0 end
  local key = JOB .. id
  local kept = redis.call('HMGET', key, 'identity', 'details', 'started', 'scope')
  if status ~= 'completed' then details = kept[2] .. details end
  redis.call('HSET', key, 'status', status, 'identity', kept[1] .. ',"completed_at":"' .. completed_at .. '"', 'details', details)
  redis.call('HDEL', key, 'request', 'lease')
  redis.call('PEXPIRE', key, KEEP_MS)
  redis.call('ZADD', SCOPE .. kept[4], 'XX', now + KEEP_MS, id)
  redis.call('PEXPIRE', SCOPE .. kept[4], KEEP_MS, 'GT')
  leave_queue(id)
  redis.call('ZREM', OPEN, id)
  redis.call('DEL', ARQ_JOB .. id, ARQ_IN_PROGRESS .. id, ARQ_RETRY .. id)
  redis.call('HINCRBY', TOTALS, status, 1)
  if kept[3] then
    redis.call('HINCRBY', TOTALS, 'run_count', 1)
    redis.call('HINCRBYFLOAT', TOTALS, 'run_sum', (now - kept[3]) / 1000)
  end
  publish_state(id)
  return 1
end

-- Puts back what is overdue: jobs whose worker has died, and any that the queue has lost.
local function requeue_overdue()
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', OPEN, '-inf', now, 'LIMIT', 0, OVERDUE_LIMIT)) do
    if not is_open(id) then
      redis.call('ZREM', OPEN, id)
      leave_queue(id)
    elseif redis.call('ZSCORE', QUEUE, ARQ_ID .. id) then
      redis.call('ZADD', OPEN, now + 3 * LEASE_MS, id)
    else
      if get(id, 'lease') then redis.call('HINCRBY', JOB .. id, 'lost_leases', 1) end
      wait(id)
    end
  end
end

local commands = {}

-- Accepts a job, unless its id is known or too many wait. Scopes take turns: a job's tag, arq's score, is its place among the waiting jobs of
-- its own scope, counted from the tag that began last. arq takes scores for milliseconds since 1970 and starts what is past: tags stay far
-- below.
function commands.enqueue(id, scope, identity, request)
  local key = JOB .. id
  if redis.call('EXISTS', key) == 1 then return 'known' end
  local waiting = redis.call('ZCARD', QUEUE)
  if waiting == 0 then redis.call('DEL', WAITING) end  -- what arq took from the queue by itself is still counted
  if waiting >= MAX_WAITING then return 'full' end
  local ahead = tonumber(redis.call('HGET', WAITING, scope) or '0')
  if ahead >= MAX_WAITING_OF_SCOPE then return 'scope full' end
  local tag = tonumber(redis.call('GET', CLOCK) or '0') + 1 + ahead
  redis.call('HSET', key, 'scope', scope, 'identity', identity, 'details', '', 'request', request, 'tag', tag, 'created', now)
  redis.call('PEXPIRE', key, OPEN_MS)
  redis.call('ZREMRANGEBYSCORE', SCOPE .. scope, '-inf', now)
  redis.call('ZADD', SCOPE .. scope, now + OPEN_MS, id)
  redis.call('PEXPIRE', SCOPE .. scope, OPEN_MS)
  wait(id)
  return 'accepted'
end

function commands.state(id)
  return redis.call('EXISTS', JOB .. id) == 1 and '{' .. state(id) .. '}'
end

-- Gives a waiting job to a run; nothing if another run holds it or it is over. Asking again is fine, and is published again.
function commands.begin(id, lease, started_at)
  local key = JOB .. id
  leave_queue(id)
  if get(id, 'status') ~= 'queued' and not holds(id, lease) then return false end
  redis.call('HSET', key, 'status', RUNNING, 'lease', lease)
  redis.call('ZADD', OPEN, now + LEASE_MS, id)
  local kept = redis.call('HMGET', key, 'tag', 'created', 'identity', 'request', 'lost_leases')
  if tonumber(kept[1]) > tonumber(redis.call('GET', CLOCK) or '0') then redis.call('SET', CLOCK, kept[1]) end
  local waited = now - kept[2]
  if redis.call('HSETNX', key, 'started', now) == 1 then
    redis.call('HSET', key, 'identity', kept[3] .. ',"started_at":"' .. started_at .. '"')
    redis.call('HINCRBY', TOTALS, 'wait_count', 1)
    redis.call('HINCRBYFLOAT', TOTALS, 'wait_sum', waited / 1000)
  end
  publish_state(id)
  return {kept[4], waited, tonumber(kept[5] or '0')}
end

-- Renews leases, given as pairs of job and lease, and returns those that hold their job no more.
function commands.renew(requeue, ...)
  local held, lost = {...}, {}
  for position = 1, #held, 2 do
    local id, lease = held[position], held[position + 1]
    if holds(id, lease) then
      redis.call('ZADD', OPEN, now + LEASE_MS, id)
    else
      lost[#lost + 1] = lease
    end
  end
  if requeue == '1' then requeue_overdue() end
  return lost
end

function commands.hand_back(id, lease)
  if holds(id, lease) then wait(id) end
end

-- Publishes what a run has to say beside its state, if it still holds the job.
function commands.publish(id, lease, ...)
  if not holds(id, lease) then return end
  for _, event in ipairs({...}) do publish(event) end
end

-- Notes how far a run has come, if it still holds the job; nothing until it has caught up with an earlier one. A job that moves is not
-- forgotten.
function commands.report(id, lease, status, progress, details)
  local key = JOB .. id
  if not holds(id, lease) then return end
  redis.call('PEXPIRE', key, OPEN_MS)
  if tonumber(progress) < tonumber(get(id, 'progress') or '0') then return end
  redis.call('HSET', key, 'status', status, 'progress', progress, 'details', details)
  publish_state(id)
end

commands.finish = finish

-- Drops all that is known of these jobs, as far as they are the scope's. Those that are open are ended first, or else left and counted.
function commands.forget(scope, end_open, completed_at, ...)
  local left = 0
  for _, id in ipairs({...}) do
    if redis.call('ZSCORE', SCOPE .. scope, id) then
      if end_open ~= '1' and is_open(id) then
        left = left + 1
      else
        finish(id, 'cancelled', completed_at, '')
        redis.call('DEL', JOB .. id)
        redis.call('ZREM', SCOPE .. scope, id)
      end
    end
  end
  return left
end

function commands.jobs_of(scope, limit)
  return redis.call('ZRANGE', SCOPE .. scope, 0, limit - 1)
end

function commands.depth()
  return redis.call('ZCARD', QUEUE)
end

function commands.totals()
  local next = redis.call('ZRANGE', QUEUE, 0, 0)[1]
  local created = next and get(string.sub(next, #ARQ_ID + 1), 'created')
  return {redis.call('ZCARD', QUEUE), redis.call('ZCARD', OPEN), created and now - created or 0, redis.call('HGETALL', TOTALS)}
end

return commands[ARGV[1]](unpack(ARGV, 2))
