"""The gateway's settings, read from the environment once at the start."""

from ipaddress import ip_network
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

from shared.contracts.training import FEWEST_COMPARED
from shared.host_guard import ALLOWED_HOSTS, HostName, Origin

_MINIMUM_KEY_BYTES = 32  # RFC 7518 section 3.2: an HS256 key is at least as long as the hash


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Every field is the environment variable of the same name in capitals."""

    database_url: Annotated[str, Meta(description="PostgreSQL, 15 or newer: `postgresql://user:password@host/database`.")]
    redis_url: Annotated[str, Meta(description="Redis or Valkey: `redis://host:6379/0` or `unix:///path/to/socket`.")]
    jwt_keys: Annotated[
        list[str],
        Meta(
            min_length=1,
            description="Keys that sign device tokens, as `id:secret`, separated by commas; each secret has at least 32 bytes. The first"
            " signs, all verify: to rotate, put a new key in front and drop the old one a week later.",
        ),
    ]
    host: Annotated[str, Meta(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65535, description="Port to listen on.")] = 3100
    ml_service_url: Annotated[
        list[str],
        Meta(description="Where the ML service answers: its replicas, separated by commas. An account keeps to one while it is there."),
    ] = msgspec.field(default_factory=lambda: ["http://127.0.0.1:8100"])
    ml_service_token: Annotated[str, Meta(description="The token that the ML service asks for; the same value on both sides.")] = ""
    ml_timeout_seconds: Annotated[float, Meta(gt=0, description="How long a draft may take before the client is told to try again.")] = (
        120.0
    )
    registration: Annotated[
        Literal["open", "closed"],
        Meta(
            description="`open`: anybody who reaches the gateway may make an account. `closed`: only devices that `gateway pair` announced."
        ),
    ] = "open"
    min_training_samples: Annotated[
        int, Meta(ge=FEWEST_COMPARED, le=10_000, description="A training with fewer samples, or preference pairs, is refused.")
    ] = 10
    max_drafts_per_account: Annotated[
        int, Meta(ge=1, description="Drafts of one account that this process writes at the same time; more are refused with 429.")
    ] = 64
    max_queued_drafts_per_account: Annotated[
        int, Meta(ge=1, description="Drafts of one account that may wait for their turn; more are refused with 429.")
    ] = 1_000
    max_devices_per_account: Annotated[
        int, Meta(ge=1, description="Devices of one account, without those that were deactivated; more are refused with 429.")
    ] = 50
    max_event_streams_per_account: Annotated[
        int, Meta(ge=1, description="WebSockets and event streams of one account at this process; more are refused with 429.")
    ] = 50
    max_contact_handles_per_account: Annotated[
        int, Meta(ge=1, description="Telephone numbers, addresses and ids of one account's contacts; more are refused with 413.")
    ] = 100_000
    max_adapters_per_account: Annotated[
        int, Meta(ge=1, description="Adapters of one account, with those being trained; more trainings are refused with 429.")
    ] = 20
    max_stored_mib_per_account: Annotated[
        int, Meta(ge=1, description="MiB of messages and samples that one account may store, by estimate; more are refused with 413.")
    ] = 4_096
    max_training_seconds_a_day_per_account: Annotated[
        int,
        Meta(
            ge=1,
            description="Seconds that one account may train within 24 hours; then a training that runs ends as failed, and new ones are"
            " refused with 429.",
        ),
    ] = 43_200
    max_registrations_per_address: Annotated[
        int, Meta(ge=1, description="Registrations that one client address may send within 15 minutes; more are refused with 429.")
    ] = 100
    max_connections: Annotated[
        int,
        Meta(
            ge=1,
            description="Requests, WebSockets and event streams that this process serves at the same time; more are refused with 503,"
            " except for `/health`.",
        ),
    ] = 2_000
    database_pool_size: Annotated[
        int, Meta(ge=1, le=200, description="PostgreSQL connections held by this process, and up to 4 more while searches and exports run.")
    ] = 10
    shutdown_delay_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=300,
            description="How long the gateway serves on after a stop signal, in seconds, while `/health/ready` says 503 and answers close"
            " their connections: longer than a load balancer takes to notice. Without one, 0.",
        ),
    ] = 0.0
    shutdown_grace_seconds: Annotated[
        int, Meta(ge=0, le=3600, description="How long open requests may finish after that, in seconds; a draft may take a minute.")
    ] = 10
    allowed_hosts: Annotated[list[HostName], Meta(description=ALLOWED_HOSTS)] = []
    cors_origins: Annotated[
        list[Origin],
        Meta(
            description="Origins of web pages, other than the gateway's own, that may use it, separated by commas:"
            " `https://app.example.org`. Pages of others are refused."
        ),
    ] = []
    trusted_proxies: Annotated[
        list[str],
        Meta(
            description="Addresses or networks of reverse proxies whose `X-Forwarded-For` is believed, separated by commas. Never"
            " everybody: wrong codes are counted by address."
        ),
    ] = []
    workspace_roots: Annotated[
        list[str],
        Meta(
            description="Folders whose projects the workspace assistant may read and change, as absolute paths separated by commas. None:"
            " it is closed."
        ),
    ] = []
    workspace_commands: Annotated[
        list[str],
        Meta(description="Commands that the workspace assistant may run in a project, word for word, separated by commas: `make test`."),
    ] = []
    workspace_providers: Annotated[
        list[str],
        Meta(
            description="Other models for the workspace assistant, behind OpenAI's chat protocol, separated by commas, each as"
            " `name=model@address`: `openai=gpt-5@https://api.openai.com/v1`."
        ),
    ] = []
    workspace_provider_keys: Annotated[
        list[str], Meta(description="Keys of these providers, separated by commas, each as `name=key`.")
    ] = []
    workspace_provider: Annotated[
        str, Meta(description="The provider whose model the workspace assistant asks. Empty: the ML service's own base model.")
    ] = ""
    metrics_token: Annotated[str, Meta(description="Bearer token for `/metrics`. Empty: `/metrics` is not served.")] = ""
    otel_exporter_otlp_endpoint: Annotated[
        str,
        Meta(description="Where traces are sent (OpenTelemetry, OTLP over HTTP), such as http://127.0.0.1:4318. Empty: nothing is traced."),
    ] = ""
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="The least important log line to write.")] = "info"
    log_format: Annotated[Literal["json", "console"], Meta(description="`json` for machines, `console` for people.")] = "json"

    def __post_init__(self) -> None:
        names = [parse_provider(definition).name for definition in self.workspace_providers]
        if self.workspace_provider and self.workspace_provider not in names:
            raise ValueError("WORKSPACE_PROVIDER cannot be used: it is none of the names in WORKSPACE_PROVIDERS")
        if any(not root.startswith("/") for root in self.workspace_roots):
            raise ValueError("WORKSPACE_ROOTS cannot be used: each is an absolute path")
        if any(map(_is_everybody, self.trusted_proxies)):
            raise ValueError(
                "TRUSTED_PROXIES cannot be used: it names everybody, and then each caller says himself which address he has;"
                " name the addresses of your proxies, or the network that only they are in"
            )
        if len({key.partition(":")[0] for key in self.jwt_keys}) != len(self.jwt_keys):
            raise ValueError("JWT_KEYS cannot be used: two keys have the same id")
        for key in self.jwt_keys:
            key_id, separator, secret = key.partition(":")
            if not key_id or not separator or len(secret.encode()) < _MINIMUM_KEY_BYTES:
                raise ValueError(
                    f"JWT_KEYS cannot be used: each key is `id:secret` with a secret of at least {_MINIMUM_KEY_BYTES} bytes;"
                    " make one with `openssl rand -hex 32`"
                )


class ProviderDefinition(NamedTuple):
    """A model behind OpenAI's chat protocol."""

    name: str
    model: str
    url: str


def parse_provider(definition: str) -> ProviderDefinition:
    """What `name=model@address` says.

    Raises:
        ValueError: it says something else.
    """
    name, _, rest = definition.partition("=")
    model, _, url = rest.rpartition("@")
    if not name or not model or not url.startswith(("http://", "https://")):
        raise ValueError("WORKSPACE_PROVIDERS cannot be used: each is `name=model@address`, such as `big=qwen3@http://127.0.0.1:1234/v1`")
    return ProviderDefinition(name, model, url.rstrip("/"))


def _is_everybody(proxy: str) -> bool:
    if proxy == "*":
        return True
    try:
        return ip_network(proxy).prefixlen == 0
    except ValueError:  # a name, which the server compares as it is
        return False
