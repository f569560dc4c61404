"""What each part has to do at the busiest hour, beside what one of it can do as it is set by default."""

from dataclasses import dataclass
from math import ceil

from deploy.simulate.inputs import DAY, Inputs

GIB = 2**30
HOUR, SECONDS_A_DAY, DAYS_A_YEAR = 3600, 86_400, 365


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One part at one size."""

    part: str
    unit: str
    needed: float
    one_holds: float
    accounts: int
    remedy: str
    """The setting, the extension or the system that answers it."""

    @property
    def parts(self) -> int:
        return max(1, ceil(self.needed / self.one_holds))

    @property
    def up_to(self) -> float:
        """Accounts at which one of the part is full, since all of this grows with the accounts."""
        return self.accounts * self.one_holds / self.needed if self.needed else float("inf")


def limits(inputs: Inputs, accounts_a_replica: float) -> list[Limit]:
    """All parts, that which is full first before the others.

    Args:
        inputs: the load and what each part can do.
        accounts_a_replica: how many accounts one ML replica serves within the p95; simulated.
    """
    load, replica, capacity = inputs.load, inputs.replica, inputs.capacity
    drafts, messages = load.peak_drafts_a_second, load.peak_messages_a_second
    sockets = load.accounts * load.devices * load.online_share
    gateway_cores = drafts * capacity.gateway_seconds_a_draft + messages * capacity.gateway_seconds_a_sync
    gateway_cores += sockets * capacity.gateway_cores_a_socket
    gateways = max(sockets / capacity.max_connections, gateway_cores / capacity.spare)  # not rounded, so that it grows with the accounts
    postgres_cores = drafts * capacity.postgres_seconds_a_draft + messages * capacity.postgres_seconds_a_sync
    postgres_cores += sockets * capacity.postgres_cores_a_socket
    trainings_a_day = load.accounts * load.adapter_share / load.days_between_trainings
    trainers = trainings_a_day * replica.training_seconds / SECONDS_A_DAY
    redis_cores = drafts * capacity.redis_seconds_a_draft + messages * capacity.redis_seconds_a_sync
    workers = drafts * load.queued_share * capacity.p95_seconds
    connections = gateways * (capacity.database_pool_size + 4)
    apart = "an installation for each group of accounts"
    found = [
        ("ML replicas", load.accounts, accounts_a_replica, "accounts", "`MAX_LORAS`, then replicas, by account"),
        ("open WebSockets", sockets, capacity.max_connections, "sockets", "`MAX_CONNECTIONS`, more gateways"),
        ("gateway's processor", gateway_cores, capacity.spare, "cores", "more gateways"),
        ("PostgreSQL's connections", connections, capacity.postgres_connections, "connections", "`DATABASE_POOL_SIZE`, PgBouncer"),
        ("PostgreSQL's processor", postgres_cores, capacity.postgres_cores * capacity.spare, "cores", "Citus by account"),
        ("PostgreSQL's disk", stored_gib(inputs), capacity.disk_gib, "GiB", "partitions by account, Citus"),
        ("adapter store", adapters_gib(inputs), capacity.disk_gib, "GiB", "a bucket as `ADAPTER_STORE`, `MAX_ADAPTERS_PER_ACCOUNT`"),
        ("Redis' memory", redis_gib(inputs), capacity.redis_gib, "GiB", f"`JOB_TTL_SECONDS`, {apart}"),
        ("Redis' processor", redis_cores, capacity.spare, "cores", apart),
        ("generation workers", workers, capacity.worker_jobs, "drafts at once", "`WORKER_JOBS`, more workers"),
        ("training workers", trainers, 1, "trainings at once", "more workers; at night, `TRAINING_GPU`"),
        ("waiting trainings", evening_backlog(trainings_a_day), capacity.max_queued_trainings, "trainings", "`MAX_QUEUED_TRAININGS`"),
    ]
    rows = [
        Limit(part=part, unit=unit, needed=needed, one_holds=holds, accounts=load.accounts, remedy=remedy)
        for part, needed, holds, unit, remedy in found
    ]
    return sorted(rows, key=lambda limit: limit.up_to)


def stored_gib(inputs: Inputs) -> float:
    """What PostgreSQL holds after `years`: nobody but their owner deletes messages, drafts and samples."""
    load, capacity = inputs.load, inputs.capacity
    messages = load.messages_at_start + load.messages_per_day * DAYS_A_YEAR * load.years
    drafts = load.messages_per_day * load.drafts_per_message * DAYS_A_YEAR * load.years
    row_bytes = messages * capacity.message_bytes + drafts * (capacity.draft_bytes + load.acted_share * capacity.sample_bytes)
    return load.accounts * (row_bytes + load.conversations * capacity.conversation_bytes) / GIB


def adapters_gib(inputs: Inputs) -> float:
    """What the adapter store holds after `years`: an adapter stays until its owner deletes it, or has as many as there may be."""
    load = inputs.load
    each = min(inputs.capacity.max_adapters_per_account, DAYS_A_YEAR * load.years / load.days_between_trainings)
    return load.accounts * load.adapter_share * each * inputs.replica.adapter_mib / 1024


def message_rows(inputs: Inputs) -> float:
    """Rows of the largest table after `years`."""
    load = inputs.load
    return load.accounts * (load.messages_at_start + load.messages_per_day * DAYS_A_YEAR * load.years)


def redis_gib(inputs: Inputs) -> float:
    """What Redis holds at most: a day of queued drafts' jobs, the busiest hour's events and cached answers."""
    load, capacity = inputs.load, inputs.capacity
    jobs = load.drafts_a_day * load.queued_share * capacity.redis_bytes_a_queued_draft
    hour = (
        load.peak_drafts_a_second * HOUR * capacity.redis_bytes_a_draft + load.peak_messages_a_second * HOUR * capacity.redis_bytes_a_sync
    )
    return (jobs + hour) / GIB


def evening_backlog(trainings_a_day: float) -> float:
    """Trainings that wait at most, if people ask for them when they ask for drafts and there are workers for the mean of a day."""
    mean, waiting, most = sum(DAY) / len(DAY), 0.0, 0.0
    for hour in (*DAY, *DAY):
        waiting = max(0.0, waiting + (hour / mean - 1) * trainings_a_day / 24)
        most = max(most, waiting)
    return most


def replica_hours(replicas: int) -> float:
    """Replicas in the mean of a day, if each hour has as many as its drafts need (KEDA), and never fewer than one."""
    return sum(max(1, ceil(replicas * hour / max(DAY))) for hour in DAY) / len(DAY)
