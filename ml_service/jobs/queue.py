"""A queue's ledger in Redis: accepts jobs, gives them to runs under leases, keeps what becomes of them. Its steps are in `ledger.lua`."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any, Final, Generic, Literal, Protocol, TypeVar, get_args

import msgspec
from arq.constants import in_progress_key_prefix, job_key_prefix, retry_key_prefix
from arq.jobs import serialize_job
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from shared.errors import Conflict, NotFound, Unavailable
from shared.ids import new_id
from shared.redis_events import EVENT_FIELD

FUNCTION: Final = "run"
"""The name under which arq's workers know what to do."""
FULL_RETRY_SECONDS: Final = 10
FORGET_LIMIT: Final = 200
"""How many jobs one call to Redis forgets at most."""
REDIS_ERRORS: Final = (RedisError, OSError, TimeoutError)

EndStatus = Literal["completed", "failed", "cancelled"]

encode = msgspec.json.encode
decode_arq = msgspec.json.Decoder().decode
_LEDGER: Final = files(__package__).joinpath("ledger.lua").read_text()


class JobRequest(Protocol):
    @property
    def job_id(self) -> str | None: ...

    @property
    def scope(self) -> str: ...

    @property
    def traceparent(self) -> str | None: ...


class HasStatus(Protocol):
    @property
    def status(self) -> str: ...


RequestT = TypeVar("RequestT", bound=JobRequest)
ResultT = TypeVar("ResultT")
StateT = TypeVar("StateT", bound=HasStatus)
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSpec:
    """What makes one queue different from another."""

    name: str
    running: str
    """The status of a job that a run has begun."""
    stream: str
    stream_length: int
    """How many events are kept at least."""
    whole_states: bool
    """An event is a job's whole state, and there is one for jobs that wait, too."""
    max_waiting: int
    max_waiting_of_scope: int
    open_ms: int
    keep_ms: int
    """How long ended jobs are kept."""
    lease_ms: int

    @property
    def arq_queue(self) -> str:
        """arq's sorted set."""
        return f"arq:queue:{self.name}"

    @property
    def arq_id(self) -> str:
        """What precedes a job's id in arq's keys, which know no queues: an id may be used once in each queue."""
        return f"{self.name}:"

    @property
    def wakeups(self) -> str:
        """The channel on which workers hear of jobs."""
        return f"jobs:{self.name}:wakeups"

    def script(self) -> str:
        """The ledger's steps for this queue. What is the same of all jobs is put in front as constants; so is what arq keeps of each."""
        record = serialize_job(FUNCTION, (), {}, None, 0, serializer=encode)  # the request is not for arq: it logs arguments
        constants = {
            **asdict(self),
            "event_field": EVENT_FIELD,
            "arq_id": self.arq_id,
            "arq_job": job_key_prefix + self.arq_id,
            "arq_in_progress": in_progress_key_prefix + self.arq_id,
            "arq_retry": retry_key_prefix + self.arq_id,
            "arq_record": record.decode(),
        }
        # Strings, integers and booleans are the same in JSON and in Lua.
        return "".join(f"local {name.upper()} = {encode(value).decode()}\n" for name, value in constants.items()) + _LEDGER


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(Generic[RequestT]):
    """A job that a run has begun and holds under a lease.

    `age_seconds` is how long ago it was accepted. `lost_leases` counts the runs before this one that were not heard of any more.
    """

    job_id: str
    lease: str
    request: RequestT
    age_seconds: float
    lost_leases: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """A queue at one moment, and what has been counted since it exists.

    `next_age` is how many seconds ago the job was accepted that begins next; 0 while none waits. `wait_sum` are seconds from acceptance to
    the first start, `run_sum` from there to the end.
    """

    queued: int
    running: int
    next_age: float
    ended: dict[EndStatus, int]
    wait_count: int
    wait_sum: float
    run_count: int
    run_sum: float


class QueueAway(Unavailable):
    """Redis is away or cannot write; nothing was accepted."""


class JobQueueFull(Unavailable):
    """Too many jobs wait already."""


class JobFailed(Exception):
    """A job cannot be done; the message is a sentence for people."""


def connection_pool(redis_url: str, timeout_seconds: float) -> ConnectionPool:
    """Connections of which a dead one is replaced at once: every call of this package may be made twice."""
    return ConnectionPool.from_url(
        redis_url,
        socket_connect_timeout=timeout_seconds,
        socket_timeout=timeout_seconds,
        retry=Retry(NoBackoff(), 1),
        retry_on_error=[RedisConnectionError],
    )


class JobQueue(ABC, Generic[RequestT, ResultT, StateT]):
    """The ledger of one queue's jobs. Every method raises `QueueAway` when Redis does not do its part."""

    def __init__(self, redis: Redis, spec: QueueSpec, request_type: type[RequestT], state_type: type[StateT]) -> None:
        """`redis` gives bytes, and is not closed here."""
        self.spec = spec
        self._script = redis.register_script(spec.script())
        self._decode_request = msgspec.json.Decoder(request_type).decode
        self._decode_state = msgspec.json.Decoder(state_type).decode

    @abstractmethod
    async def complete(self, job_id: str, result: ResultT) -> bool:
        """Keep the result and publish it; False if the job was over already, and nothing was done."""

    async def enqueue(self, request: RequestT) -> str:
        """Accept a job, and return its id: from here on it is finished one day, whatever dies.

        Raises:
            Conflict: the id is known.
            JobQueueFull: too many jobs wait, in all or of this scope.
        """
        job_id = request.job_id or str(new_id())
        identity = encode({"job_id": job_id, "created_at": _now()})[1:-1]
        match await self._call("enqueue", job_id, request.scope, identity, encode(request)):
            case b"known":
                raise Conflict("A job with this id exists already")
            case b"full":
                raise JobQueueFull("Too many jobs are waiting", retry_after=FULL_RETRY_SECONDS)
            case b"scope full":
                raise JobQueueFull("Too many jobs of this scope are waiting", retry_after=FULL_RETRY_SECONDS)
        return job_id

    async def state(self, job_id: str) -> StateT:
        """How far a job is.

        Raises:
            NotFound: no such job, or it ended too long ago.
        """
        state = await self._call("state", job_id)
        if state is None:
            raise NotFound("No job with this id")
        return self._decode_state(state)

    async def cancel(self, job_id: str) -> StateT:
        """End a job. One that waits never begins; the worker of one that runs stops it at its next heartbeat.

        Raises:
            NotFound: no such job.
            Conflict: it is over.
        """
        cancelled = await self._end(job_id, "cancelled")
        state = await self.state(job_id)
        if not cancelled:
            raise Conflict(f"The job is {state.status} already")
        return state

    async def begin(self, job_id: str, lease: str) -> Job[RequestT] | None:
        """Take a job for a run, under a lease of this name; None if it is not to be had any more."""
        answer = await self._call("begin", job_id, lease, _now())
        if answer is None:
            return None
        request, age_ms, lost_leases = answer
        return Job(job_id=job_id, lease=lease, request=self._decode_request(request), age_seconds=age_ms / 1000, lost_leases=lost_leases)

    async def renew(self, held: Sequence[tuple[str, str]], *, requeue: bool) -> set[str]:
        """Renew all leases that a worker has, as pairs of job and lease, and return those that hold their job no longer: it was cancelled,
        or another run has it. With `requeue`, what dead workers held goes back to the queue.
        """
        lost = await self._call("renew", int(requeue), *(part for pair in held for part in pair))
        return {lease.decode() for lease in lost}

    async def hand_back(self, job: Job[RequestT]) -> None:
        """Let another worker have the job at once; does nothing if this run does not hold it."""
        await self._call("hand_back", job.job_id, job.lease)

    async def fail(self, job_id: str, error: str) -> bool:
        """Keep why it failed, a sentence for people, and publish it; False if the job was over already, and nothing was done."""
        return await self._end(job_id, "failed", {"error": error})

    async def forget(self, scope: str) -> int:
        """End open jobs of a scope and drop all that is known of them, some of them at each call; how many, and 0 when none is left."""
        job_ids = [job_id.decode() for job_id in await self._call("jobs_of", scope, FORGET_LIMIT)]
        await self.forget_these(scope, job_ids, end_open=True)
        return len(job_ids)

    async def forget_these(self, scope: str, job_ids: Sequence[str], *, end_open: bool) -> int:
        """Drop all that is known of these jobs, as far as they are the scope's. With `end_open` open ones are ended first, else they are
        left; returns how many were.
        """
        left = 0
        for start in range(0, len(job_ids), FORGET_LIMIT):
            left += await self._call("forget", scope, int(end_open), _now(), *job_ids[start : start + FORGET_LIMIT])
        return left

    async def depth(self) -> int:
        """How many jobs wait."""
        return int(await self._call("depth"))

    async def totals(self) -> Totals:
        """What the metrics are made of."""
        queued, open_jobs, next_age_ms, counters = await self._call("totals")
        counted = {name.decode(): float(value) for name, value in zip(counters[::2], counters[1::2], strict=True)}
        return Totals(
            queued=queued,
            running=max(open_jobs - queued, 0),
            next_age=next_age_ms / 1000,
            ended={status: int(counted.get(status, 0)) for status in get_args(EndStatus)},
            wait_count=int(counted.get("wait_count", 0)),
            wait_sum=counted.get("wait_sum", 0.0),
            run_count=int(counted.get("run_count", 0)),
            run_sum=counted.get("run_sum", 0.0),
        )

    async def _end(self, job_id: str, status: EndStatus, details: dict[str, Any] | None = None) -> bool:
        return bool(await self._call("finish", job_id, status, _now(), inside(details) if details else b""))

    async def _call(self, command: str, *arguments: str | bytes | float) -> Any:
        try:
            return await self._script(args=[command, *arguments])
        except REDIS_ERRORS as error:
            raise QueueAway("The queue is not reachable; try again in a moment") from error


def inside(fields: dict[str, Any]) -> bytes:
    """Fields as they stand in a JSON object behind others."""
    return b"," + encode(fields)[1:-1]


def _now() -> str:
    return datetime.now(UTC).isoformat()
