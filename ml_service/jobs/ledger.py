"""What every queue's ledger does: accepts jobs, gives them to workers, keeps leases. The steps themselves are in `scripts`."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Generic, Literal, Protocol, TypeVar

import msgspec
from arq.jobs import serialize_job
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.commands.core import AsyncScript
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from ml_service.jobs import scripts
from ml_service.jobs.scripts import QueueNames
from shared.errors import Conflict, Unavailable
from shared.ids import new_id

FUNCTION: Final = "run"
"""The name under which arq's workers know what to do."""
FULL_RETRY_SECONDS: Final = 10
FORGET_LIMIT: Final = 200
"""How many jobs one call to Redis forgets at most."""

FinalStatus = Literal["completed", "failed", "cancelled"]
FINAL: Final[tuple[FinalStatus, ...]] = ("completed", "failed", "cancelled")
Result = TypeVar("Result")

encode = msgspec.json.encode
decode_arq = msgspec.json.Decoder().decode


class HeldJob(Protocol):
    """A job that a run may work on. `age_seconds` is how long ago it was accepted."""

    @property
    def job_id(self) -> str: ...

    @property
    def run(self) -> str: ...

    @property
    def age_seconds(self) -> float: ...


JobT = TypeVar("JobT", bound=HeldJob)


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a queue gives to a run. `runs` counts those that have begun the job and did not hand it back, this one among them."""

    job_id: str
    run: str
    request: bytes
    options: bytes
    age_seconds: float
    runs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """What a queue is asked to accept.

    Args:
        job_id: its id.
        scope: whose it is.
        flow, cost: those of one flow take turns with other flows, each for its price.
        who: the part of its events that never changes, as the inside of a JSON object.
        request, options: what a run is given.
        claim: a key that only one open job can have; none if empty.
    """

    job_id: str
    scope: str
    flow: str
    cost: int
    who: bytes
    request: bytes
    options: bytes = b""
    claim: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many jobs may wait, in all and of one flow; how long open and finished ones and leases are kept, in milliseconds."""

    waiting: int
    waiting_per_flow: int
    open_ms: int
    keep_ms: int
    lease_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A queue at one moment, and what has been counted since it exists.

    `waits` has a count for each of `WAIT_BUCKETS` (not cumulative); `run_sum` are seconds from a job's first start to its end.
    """

    queued: int
    running: int
    finished: dict[FinalStatus, int]
    waits: list[int]
    wait_count: int
    wait_sum: float
    run_count: int
    run_sum: float


class QueueAway(Unavailable):
    """Redis is away or cannot write; nothing was accepted."""


class JobQueueFull(Unavailable):
    """Too many jobs wait already."""


def connection_pool(redis_url: str, timeout_seconds: float) -> ConnectionPool:
    """Connections of which a dead one is replaced at once: every call of this package may be made twice."""
    return ConnectionPool.from_url(
        redis_url,
        socket_connect_timeout=timeout_seconds,
        socket_timeout=timeout_seconds,
        retry=Retry(NoBackoff(), 1),
        retry_on_error=[RedisConnectionError],
    )


class Ledger(ABC, Generic[JobT]):
    """The ledger of one queue's jobs, in Redis.

    Args:
        redis: a client that gives bytes; it is not closed here.
        names: which queue.
        limits: how much of it.

    Every method raises `QueueAway` when Redis does not do its part.
    """

    def __init__(self, redis: Redis, names: QueueNames, limits: Limits) -> None:
        self._redis = redis
        self.names = names
        self._limits = limits
        self._enqueue = self._script(scripts.ENQUEUE)
        self._begin = self._script(scripts.BEGIN)
        self._finish = self._script(scripts.FINISH)
        self._forget = self._script(scripts.FORGET)
        self._forget_these = self._script(scripts.FORGET_THESE)
        self._hand_back = self._script(scripts.HAND_BACK)
        self._renew = self._script(scripts.RENEW)

    @abstractmethod
    def _job(self, given: Given) -> JobT:
        """What a run is given, decoded."""

    async def begin(self, job_id: str, run: str) -> JobT | None:
        """Take a job for a run, under a lease; None if it is not to be had any more."""
        answer = await self._call(lambda: self._begin(args=[job_id, run, self._limits.lease_ms]))
        if answer is None:
            return None
        request, options, age_ms, runs = answer
        return self._job(Given(job_id=job_id, run=run, request=request, options=options, age_seconds=age_ms / 1000, runs=runs))

    def own_id(self, arq_id: str) -> str:
        """The id of a job that arq knows by this one."""
        return arq_id.removeprefix(self.names.arq_ids)

    async def renew(self, runs: Sequence[tuple[str, str]], *, look_after: bool) -> set[str]:
        """Say that these runs live, as pairs of job and run.

        Args:
            runs: all that this worker has.
            look_after: whether to give what dead workers held back to the queue.

        Returns:
            The runs that hold their job no longer: it was cancelled, or another run has it.
        """
        arguments = [part for pair in runs for part in pair]
        lost = await self._call(lambda: self._renew(args=[self._limits.lease_ms, int(look_after), *arguments]))
        return {run.decode() for run in lost}

    async def hand_back(self, job_id: str, run: str) -> None:
        """Let another worker have the job at once; does nothing if this run does not hold it."""
        await self._call(lambda: self._hand_back(args=[job_id, run, self._limits.lease_ms]))

    async def fail(self, job_id: str, error: str) -> bool:
        """Keep why it failed, a sentence for people, and tell of it; False if the job was over already, and nothing was done."""
        return await self._end(job_id, "failed", "error", encode(error))

    async def forget(self, scope: str) -> int:
        """End open jobs of a scope and drop all that is known of them, some of them at each call; how many, and 0 when none is left."""
        return int(await self._call(lambda: self._forget(args=[scope, FORGET_LIMIT, self._limits.keep_ms])))

    async def forget_these(self, scope: str, job_ids: Sequence[str], *, end_open: bool) -> int:
        """Drop all that is known of these jobs, as far as they are the scope's.

        Args:
            end_open: open ones are ended first; else they are left as they are.

        Returns:
            How many were left.
        """
        if not job_ids:
            return 0
        return int(await self._call(lambda: self._forget_these(args=[scope, int(end_open), self._limits.keep_ms, *job_ids])))

    async def depth(self) -> int:
        """How many jobs wait."""
        return int(await self._call(lambda: self._redis.zcard(self.names.queue)))

    async def snapshot(self) -> Snapshot:
        """What metrics tell."""

        def read() -> Awaitable[Any]:
            pipe = self._redis.pipeline(transaction=True)
            return pipe.zcard(self.names.queue).zcard(self.names.open).hgetall(self.names.totals).execute()  # type: ignore[no-any-return]

        queued, open_jobs, raw = await self._call(read)
        totals = {name.decode(): float(value) for name, value in raw.items()}
        return Snapshot(
            queued=queued,
            running=max(open_jobs - queued, 0),
            finished={status: int(totals.get(status, 0)) for status in FINAL},
            waits=[int(totals.get(f"wait:{bound}", 0)) for bound in scripts.WAIT_BUCKETS],
            wait_count=int(totals.get("wait_count", 0)),
            wait_sum=totals.get("wait_sum", 0.0),
            run_count=int(totals.get("run_count", 0)),
            run_sum=totals.get("run_sum", 0.0),
        )

    async def _accept(self, job: NewJob) -> None:
        """Accept a job: from here on it is finished one day, whatever dies.

        Raises:
            Conflict: the id is known, or the claim is taken.
            JobQueueFull: too many jobs wait, in all or of this flow.
        """
        arguments: list[str | bytes | int] = [
            job.job_id,
            str(new_id()),  # a call that is repeated because its answer was lost is not taken for a second job
            self._limits.waiting,
            self._limits.waiting_per_flow,
            job.flow,
            job.cost,
            self._limits.open_ms,
            self._limits.lease_ms,
            serialize_job(FUNCTION, (), {}, None, _now_ms(), serializer=encode),  # the request is not for arq: it logs arguments
            job.who,
            job.request,
            job.options,
            job.scope,
            job.claim,
        ]
        match await self._call(lambda: self._enqueue(args=arguments)):
            case b"known":
                raise Conflict("A job with this id exists already")
            case b"claimed":
                raise Conflict("Another job that is not finished makes the same thing")
            case b"full":
                raise JobQueueFull("Too many jobs are waiting", retry_after=FULL_RETRY_SECONDS)
            case b"flow full":
                raise JobQueueFull("Too many jobs of this scope are waiting", retry_after=FULL_RETRY_SECONDS)

    async def _end(self, job_id: str, status: FinalStatus, field: str = "", value: bytes = b"") -> bool:
        return bool(await self._call(lambda: self._finish(args=[job_id, status, field, value, self._limits.keep_ms])))

    def _script(self, text: str) -> AsyncScript:
        return self._redis.register_script(self.names.prelude + text)

    async def _call(self, command: Callable[[], Awaitable[Result]]) -> Result:
        try:
            return await command()
        except (RedisError, OSError, TimeoutError) as error:
            raise QueueAway("The queue is not reachable; try again in a moment") from error


def _now_ms() -> int:
    return int(datetime.now(UTC).timestamp() * 1000)
