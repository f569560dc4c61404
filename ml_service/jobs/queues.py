"""The queue of generations: accepts jobs, gives them to workers, tells what becomes of them. The steps themselves are in `scripts`."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeVar

import msgspec
from arq.jobs import serialize_job
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from ml_service.jobs import scripts
from ml_service.settings import Settings
from shared.contracts.generation import GenerateRequest, GenerateResponse, TokenEvent
from shared.contracts.jobs import AsyncGenerateRequest, JobPriority, JobState
from shared.errors import Conflict, NotFound, Unavailable
from shared.ids import new_id

FUNCTION: Final = "generate"
"""The name under which arq's workers know what to do."""
COSTS: Final[dict[JobPriority, int]] = {"interactive": 1, "background": 10}
"""A turn's price in the fair queue: of two busy flows, the cheap one gets ten turns for one of the dear one's."""
FULL_RETRY_SECONDS: Final = 10

FinalStatus = Literal["completed", "failed", "cancelled"]
Result = TypeVar("Result")

encode = msgspec.json.encode
decode_arq = msgspec.json.Decoder().decode
_decode_request = msgspec.json.Decoder(GenerateRequest).decode
_decode_result = msgspec.json.Decoder(GenerateResponse).decode
_decode_error = msgspec.json.Decoder(str).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job that a run may work on. `age_seconds` is how long ago it was accepted."""

    job_id: str
    run: str
    request: GenerateRequest
    publish_tokens: bool
    age_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The queue at one moment, and what has been counted since it exists.

    `waits` has a count for each of `WAIT_BUCKETS` (not cumulative).
    """

    queued: int
    generating: int
    finished: dict[FinalStatus, int]
    waits: list[int]
    wait_count: int
    wait_sum: float


class QueueAway(Unavailable):
    """Redis is away or cannot write; nothing was accepted."""


class JobQueueFull(Unavailable):
    """Too many jobs wait already."""


def connection_pool(redis_url: str, timeout_seconds: float) -> ConnectionPool:
    """Connections of which a dead one is replaced at once: every call of this module may be made twice."""
    return ConnectionPool.from_url(
        redis_url,
        socket_connect_timeout=timeout_seconds,
        socket_timeout=timeout_seconds,
        retry=Retry(NoBackoff(), 1),
        retry_on_error=[RedisConnectionError],
    )


class JobQueue:
    """The ledger of queued generations, in Redis.

    Args:
        redis: a client that gives bytes; it is not closed here.
        settings: the limits, see `Settings`.

    Every method raises `QueueAway` when Redis does not do its part.
    """

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis = redis
        self._limit = settings.max_queued_jobs
        self._scope_limit = settings.max_queued_jobs_per_scope
        self._keep_ms = settings.job_ttl_seconds * 1000
        self._open_ms = int(settings.job_patience_seconds * 1000) + self._keep_ms
        self._lease_ms = int(settings.job_lease_seconds * 1000)
        self._enqueue = redis.register_script(scripts.ENQUEUE)
        self._begin = redis.register_script(scripts.BEGIN)
        self._finish = redis.register_script(scripts.FINISH)
        self._hand_back = redis.register_script(scripts.HAND_BACK)
        self._renew = redis.register_script(scripts.RENEW)
        self._tokens = redis.register_script(scripts.TOKENS)

    async def enqueue(self, request: AsyncGenerateRequest) -> str:
        """Accept a job: from here on it is finished one day, whatever dies.

        Returns:
            Its id.

        Raises:
            Conflict: the id is known.
            JobQueueFull: too many jobs wait, in all or of this scope.
        """
        job_id = request.job_id or str(new_id())
        arguments: list[str | bytes | int] = [
            job_id,
            str(new_id()),  # a call that is repeated because its answer was lost is not taken for a second job
            self._limit,
            self._scope_limit,
            f"{request.priority}:{request.scope}",
            COSTS[request.priority],
            self._open_ms,
            self._lease_ms,
            serialize_job(FUNCTION, (), {}, None, _now_ms(), serializer=encode),  # the request is not for arq: it logs arguments
            encode({"job_id": job_id, "scope": request.scope})[1:-1],
            encode(_bare(request)),
            int(request.publish_tokens),
        ]
        answer = await self._call(lambda: self._enqueue(args=arguments))
        match answer:
            case b"known":
                raise Conflict("A job with this id exists already")
            case b"full":
                raise JobQueueFull("Too many jobs are waiting", retry_after=FULL_RETRY_SECONDS)
            case b"flow full":
                raise JobQueueFull("Too many jobs of this scope are waiting", retry_after=FULL_RETRY_SECONDS)
        return job_id

    async def state(self, job_id: str) -> JobState:
        """How far a job is.

        Raises:
            NotFound: no such job, or it was finished too long ago.
        """
        names = ("status", "result", "error", "created", "completed")
        status, result, error, created, completed = await self._call(lambda: self._redis.hmget(scripts.STATE + job_id, names))
        if status is None:
            raise NotFound("No job with this id")
        return JobState(
            job_id=job_id,
            status=status.decode(),
            result=_decode_result(result) if result is not None else None,
            error=_decode_error(error) if error is not None else None,
            created_at=_moment(created),
            completed_at=_moment(completed) if completed is not None else None,
        )

    async def cancel(self, job_id: str) -> JobState:
        """End a job. One that waits never begins; the worker of one that runs aborts it at its next heartbeat.

        Raises:
            NotFound: no such job.
            Conflict: it is over.
        """
        if not await self._end(job_id, "cancelled"):
            state = await self.state(job_id)
            raise Conflict(f"The job is {state.status} already")
        return await self.state(job_id)

    async def begin(self, job_id: str, run: str) -> Job | None:
        """Take a job for a run, under a lease; None if it is not to be had any more."""
        answer = await self._call(lambda: self._begin(args=[job_id, run, self._lease_ms]))
        if answer is None:
            return None
        request, tokens, age_ms = answer
        return Job(
            job_id=job_id, run=run, request=_decode_request(request), publish_tokens=tokens == b"1", age_seconds=age_ms / 1000
        )  # fmt: skip

    async def renew(self, runs: Sequence[tuple[str, str]], *, look_after: bool) -> set[str]:
        """Say that these runs live, as pairs of job and run.

        Args:
            runs: all that this worker has.
            look_after: whether to give what dead workers held back to the queue.

        Returns:
            The runs that hold their job no longer: it was cancelled, or another run has it.
        """
        arguments = [part for pair in runs for part in pair]
        lost = await self._call(lambda: self._renew(args=[self._lease_ms, int(look_after), *arguments]))
        return {run.decode() for run in lost}

    async def hand_back(self, job_id: str, run: str) -> None:
        """Let another worker have the job at once; does nothing if this run does not hold it."""
        await self._call(lambda: self._hand_back(args=[job_id, run, self._lease_ms]))

    async def publish(self, job_id: str, run: str, tokens: Sequence[TokenEvent], first: int = 0) -> None:
        """Tell of new text, of which there were `first` pieces before; does nothing if this run does not hold the job."""
        texts = [b',%b,"sequence":%d' % (encode(token)[1:-1], number) for number, token in enumerate(tokens, first)]
        await self._call(lambda: self._tokens(args=[job_id, run, *texts]))

    async def complete(self, job_id: str, result: GenerateResponse) -> bool:
        """Keep the result and tell of it; False if the job was over already, and nothing was done."""
        return await self._end(job_id, "completed", "result", encode(result))

    async def fail(self, job_id: str, error: str) -> bool:
        """Keep why it failed, a sentence for people, and tell of it; False as `complete`."""
        return await self._end(job_id, "failed", "error", encode(error))

    async def depth(self) -> int:
        """How many jobs wait."""
        return int(await self._call(lambda: self._redis.zcard(scripts.QUEUE)))

    async def snapshot(self) -> Snapshot:
        """What metrics tell."""

        def read() -> Awaitable[Any]:
            pipe = self._redis.pipeline(transaction=True)
            return pipe.zcard(scripts.QUEUE).zcard(scripts.OPEN).hgetall(scripts.TOTALS).execute()  # type: ignore[no-any-return]

        queued, open_jobs, raw = await self._call(read)
        totals = {name.decode(): float(value) for name, value in raw.items()}
        statuses: tuple[FinalStatus, ...] = ("completed", "failed", "cancelled")
        return Snapshot(
            queued=queued,
            generating=max(open_jobs - queued, 0),
            finished={status: int(totals.get(status, 0)) for status in statuses},
            waits=[int(totals.get(f"wait:{bound}", 0)) for bound in scripts.WAIT_BUCKETS],
            wait_count=int(totals.get("wait_count", 0)),
            wait_sum=totals.get("wait_sum", 0.0),
        )

    async def _end(self, job_id: str, status: FinalStatus, field: str = "", value: bytes = b"") -> bool:
        return bool(await self._call(lambda: self._finish(args=[job_id, status, field, value, self._keep_ms])))

    async def _call(self, command: Callable[[], Awaitable[Result]]) -> Result:
        try:
            return await command()
        except (RedisError, OSError, TimeoutError) as error:
            raise QueueAway("The queue is not reachable; try again in a moment") from error


def _bare(request: AsyncGenerateRequest) -> dict[str, Any]:
    """The request as `/generate` takes it."""
    return {field.name: getattr(request, field.name) for field in fields(GenerateRequest)} | {"stream": True}


def _now_ms() -> int:
    return int(datetime.now(UTC).timestamp() * 1000)


def _moment(milliseconds: bytes) -> datetime:
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC)
