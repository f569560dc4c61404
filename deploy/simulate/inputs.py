"""What the simulation is told. Each field says what it means, in which unit, and where its default is from.

Measured ones name the decision of docs/decisions, or `storage`: the part of `make bench` that measures what rows, keys and sockets take.
Assumed ones say why. All can be given on the command line (`--accounts 5000 --max-loras 32`).
"""

from dataclasses import dataclass, field

DAY = (0.3, 0.2, 0.1, 0.1, 0.1, 0.2, 0.5, 0.9, 1.1, 1.1, 1.1, 1.2, 1.4, 1.2, 1.1, 1.1, 1.2, 1.5, 1.8, 2.0, 2.0, 1.8, 1.3, 0.7)
"""Drafts of each hour, beside the mean of the day. Assumed: people write from morning to night, most in the evening, in one time zone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What people do."""

    accounts: int = 100_000
    """Accounts."""
    messages_per_day: float = 60
    """Messages of an account a day, of both directions. Assumed: somebody who lives by their messages."""
    drafts_per_message: float = 0.25
    """Drafts for each message. Assumed: half of the messages come in, and half of these are answered."""
    queued_share: float = 0.3
    """Share of drafts that nobody waits for (`Prefer: respond-async`). Assumed: an app asks ahead for some."""
    acted_share: float = 0.5
    """Share of drafts that the owner accepts, edits or rejects, each of which makes a sample. Assumed."""
    drafts_a_session: float = 4
    """Drafts of one thread in a row, mean of a geometric distribution. Assumed: a short exchange."""
    seconds_between_drafts: float = 90
    """Between two drafts of a session, mean of an exponential distribution. Assumed: the other side has to answer."""
    draft_tokens: float = 20
    """Tokens of a draft, mean of an exponential distribution. Assumed: a dozen words."""
    prompt_tokens: int = 230
    """Tokens of a prompt. Counted with the bundled model's tokenizer: the system turn and ten messages of ten words."""
    prefix_tokens: int = 64
    """Of these, the tokens that the next prompt of the thread begins with, too. Counted, too: where a thread has more messages than a
    prompt, this is the system turn only, since the window of ten messages moves on with each."""
    adapter_share: float = 0.5
    """Share of accounts with a personal adapter. Assumed: who has answered drafts for a month."""
    devices: float = 2
    """Devices of an account. Assumed: a computer and a phone."""
    online_share: float = 0.5
    """Share of devices with an open WebSocket in the busiest hour. Assumed."""
    days_between_trainings: float = 30
    """Days between two trainings of an account that has an adapter. Assumed."""
    messages_at_start: int = 10_000
    """Messages of an account's past that are synced once. Assumed: some years of threads."""
    conversations: float = 100
    """Conversations of an account. Assumed."""
    years: float = 1
    """For how long rows gather: nothing deletes messages, drafts and samples but their owner."""

    @property
    def drafts_a_day(self) -> float:
        return self.accounts * self.messages_per_day * self.drafts_per_message

    @property
    def peak(self) -> float:
        """The busiest hour beside the mean of the day."""
        return max(DAY) / (sum(DAY) / len(DAY))

    @property
    def peak_drafts_a_second(self) -> float:
        return self.drafts_a_day / 86_400 * self.peak

    @property
    def peak_messages_a_second(self) -> float:
        return self.accounts * self.messages_per_day / 86_400 * self.peak


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """One ML service with its engine. A step makes a token of each answer in the batch; it takes
    `step_seconds + drafts * step_seconds_a_draft`; with adapters, what these take beside it, and all of it by `adapter_speed` slower.
    """

    step_seconds: float
    step_seconds_a_draft: float
    step_seconds_an_adapter: float
    """For each adapter in the batch beyond the first."""
    adapter_speed: float
    """Tokens a second with an adapter in the batch, beside those without."""
    prompt_tokens_a_second: float
    """How fast prompts are read; nothing else goes on meanwhile."""
    load_seconds: float
    """An adapter's way into the engine (`add_lora`), while which nothing else goes on."""
    check_seconds: float
    """Reading, hashing and checking an adapter's files before that: only its own draft waits."""
    kv_tokens: int
    """Tokens of prompts that stay in the prefix cache."""
    adapter_mib: float
    """Memory of a loaded adapter, and room in the adapter store, in MiB."""
    training_seconds: float
    """Seconds of one training."""
    max_num_seqs: int = 64
    """`MAX_NUM_SEQS`."""
    max_queued_requests: int = 192
    """`MAX_QUEUED_REQUESTS`."""
    max_loras: int = 4
    """`MAX_LORAS`: adapters in one batch. A draft whose adapter finds no place in it waits, even beside an idle engine."""
    max_loaded_adapters: int = 32
    """`MAX_LOADED_ADAPTERS`."""

    def step(self, drafts: int, adapters: int) -> float:
        """Seconds of a step with so many drafts in the batch, and so many different adapters among them."""
        seconds = self.step_seconds + self.step_seconds_a_draft * drafts
        return (seconds + self.step_seconds_an_adapter * (adapters - 1)) / self.adapter_speed if adapters else seconds


CPU = Replica(
    step_seconds=0.0207,  # decision 0017: 44, 210 and 370 tokens a second at 1, 8 and 32 streams are this line, within a twentieth
    step_seconds_a_draft=0.00206,
    step_seconds_an_adapter=0.0018,  # decision 0017: eight answers by four adapters take a seventh more time than by one
    adapter_speed=0.72,  # decision 0013
    prompt_tokens_a_second=1000,  # decision 0017: a step of 1,024 tokens takes about a second in bfloat16
    load_seconds=0.022,  # decision 0013
    check_seconds=0.035,  # decision 0013, for 20 MB
    kv_tokens=46_000,  # CPU_KV_CACHE_GIB=1, and 22.5 KiB a token of the bundled model in bfloat16
    adapter_mib=9.3,  # the bundled model's seven matrices a layer at rank 8, in float32 as the trainer writes them
    training_seconds=59,  # decision 0018: 240 replies, two epochs
)
"""Two cores with the bundled model (135 million parameters): all of it was measured, on processors with bfloat16."""

GPU = Replica(
    step_seconds=0.006,  # decision 0026: 2.4 ms with the bundled model; the weights of 3.4 billion parameters are read in 3.4 ms
    step_seconds_a_draft=0.00005,  # keys and values of 300 tokens (32 MB), and sampling
    step_seconds_an_adapter=0.00003,  # 47 MiB are read in 0.015 ms; twice that
    adapter_speed=0.72,  # as on a CPU (decision 0013); not measured on a GPU
    prompt_tokens_a_second=30_000,  # a fifth of what the tensor cores could do at 7 GFLOP a token
    load_seconds=0.022,  # as on a CPU
    check_seconds=0.085,  # as on a CPU, by size
    kv_tokens=500_000,  # GPU_MEMORY_UTILIZATION=0.85 of 80 GB, less weights and graphs, at 104 KiB a token
    adapter_mib=47,  # seven matrices a layer at rank 16, in bfloat16
    training_seconds=120,  # decision 0026: 37 s with the bundled model, most of it imports; a larger model takes longer
)
"""One H100 with Ministral 3 3B. Nobody has measured that here: what is not named as measured is arithmetic on bandwidth (3.35 TB/s, of
which 60 % are reached) and sizes (26 layers, 3,072 wide). Measure your own machine (`make bench ARGS=--gpu`), and say it on the command
line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What one of each part can do, and what things take."""

    gateway_seconds_a_draft: float = 0.0047
    """Processor time of a gateway for a draft: 6.7 ms for a queued one, 3.8 for another, on a busy machine (`storage`). Decision 0009 has
    2.4 for the latter on a quiet one."""
    gateway_seconds_a_sync: float = 0.0028
    """For a sync of one message. `storage`."""
    gateway_cores_a_socket: float = 0.000014
    """For an open WebSocket that hears nothing. `storage`."""
    postgres_seconds_a_draft: float = 0.0023
    """Processor time of PostgreSQL for a draft: 4.1 ms for a queued one, 1.6 for another, on a busy machine (`storage`). Decision 0003 has
    0.7 for the latter on a quiet one."""
    postgres_seconds_a_sync: float = 0.0013
    """For a sync of one message. `storage`."""
    postgres_cores_a_socket: float = 0.0000015
    """For an open WebSocket: twice a second a gateway asks for the devices of all its sockets. `storage`."""
    redis_seconds_a_draft: float = 0.00075
    """Processor time of Valkey for a draft: 1.6 ms for a queued one, 0.4 for another. `storage`."""
    redis_seconds_a_sync: float = 0.00016
    """For a sync of one message. `storage`."""
    message_bytes: float = 650
    """A message in PostgreSQL, with its indexes. `storage`."""
    conversation_bytes: float = 1430
    """A conversation with one person. `storage`."""
    draft_bytes: float = 2560
    """A draft, with its prompt. `storage`."""
    sample_bytes: float = 1930
    """A sample, with its prompt. `storage`."""
    redis_bytes_a_queued_draft: float = 1360
    """What stays of a queued draft in Valkey for a day. `storage`."""
    redis_bytes_a_draft: float = 1900
    """A draft's events and its cached answer, for an hour. `storage`."""
    redis_bytes_a_sync: float = 360
    """The event of a sync, for an hour. `storage`."""
    max_connections: int = 2000
    """`MAX_CONNECTIONS` of a gateway process."""
    database_pool_size: int = 10
    """`DATABASE_POOL_SIZE` of a gateway process, which has 4 more for searches and exports."""
    postgres_connections: int = 100
    """PostgreSQL's own `max_connections`, by default."""
    postgres_cores: int = 32
    """Cores of the PostgreSQL server. Assumed: a large machine."""
    disk_gib: float = 4096
    """What one server's disk holds, PostgreSQL's or the adapter store's, in GiB. Assumed: of more, a backup takes longer than a night."""
    redis_gib: float = 48
    """What one Redis may hold, in GiB. Assumed: a machine of 64 GiB, with room for rewriting its file."""
    max_adapters_per_account: int = 20
    """`MAX_ADAPTERS_PER_ACCOUNT`."""
    max_queued_trainings: int = 100
    """`MAX_QUEUED_TRAININGS`."""
    worker_jobs: int = 32
    """`WORKER_JOBS` of a generation worker."""
    spare: float = 0.6
    """Share of a part's capacity that is used at the peak, so that it is not the queue that decides. Assumed."""
    p95_seconds: float = 3.0
    """A draft shall be there within so long, 95 times of 100. Assumed: before its reader has begun to type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Everything that the simulation is told."""

    load: Load = field(default_factory=Load)
    replica: Replica = GPU
    capacity: Capacity = field(default_factory=Capacity)
