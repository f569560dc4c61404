"""The ML service's settings: each field is an environment variable of the same name in capitals."""

from ipaddress import ip_address
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from shared.host_guard import ALLOWED_HOSTS, HostName

Port = Annotated[int, Meta(ge=1, le=65535)]
PositiveSeconds = Annotated[float, Meta(gt=0)]


class Settings(Struct, frozen=True, kw_only=True):
    """How the service listens, which model it serves and with how much of the machine."""

    host: Annotated[str, Meta(description="Address to listen on. Anything but loopback needs ML_SERVICE_TOKEN.")] = "127.0.0.1"
    port: Annotated[Port, Meta(description="Port to listen on.")] = 8100
    ml_service_token: Annotated[
        str, Meta(description="Secret that callers send as `Authorization: Bearer`. Without it the service listens on loopback only.")
    ] = ""
    former_ml_service_token: Annotated[
        str,
        Meta(description="A token that the service takes, too, while its callers change to the new ML_SERVICE_TOKEN one after the other."),
    ] = ""
    allowed_hosts: Annotated[list[HostName], Meta(description=f"{ALLOWED_HOSTS} The names in ML_SERVICE_URL are allowed, too.")] = (
        msgspec.field(default_factory=list)
    )
    redis_url: Annotated[str, Meta(description="Redis or Valkey for cached answers. Without it answers are generated anew each time.")] = (
        "redis://127.0.0.1:6379/0"
    )
    data_dir: Annotated[str, Meta(description="Folder for what the service makes itself, such as unpacked models.")] = ".data"

    engine: Annotated[
        Literal["vllm", "scripted"],
        Meta(description="`vllm` serves a model. `scripted` answers with fixed words: for tests and for trying out client apps."),
    ] = "vllm"
    model_id: Annotated[
        str, Meta(description="Model of the catalogue. Empty: ministral-3b-instruct on a GPU, smollm2-135m-instruct on a CPU.")
    ] = ""
    model_catalogue: Annotated[str, Meta(description="TOML file of further models, in the form of ml_service/models/catalogue.toml.")] = ""
    max_model_len: Annotated[
        Annotated[int, Meta(ge=256)] | None, Meta(description="Context window in tokens, when it shall be smaller than the catalogue's.")
    ] = None
    max_prompt_tokens: Annotated[
        Annotated[int, Meta(ge=256)] | None,
        Meta(
            description="Tokens that a draft's prompt may have; older messages, and the beginning of a long one that is answered, are left "
            "out. None: on a CPU what two cores read in about a second (512 in float32, 1024 in bfloat16), on a GPU the context window."
        ),
    ] = None
    max_num_seqs: Annotated[Annotated[int, Meta(ge=1)], Meta(description="Answers generated at the same time, in one batch.")] = 64
    max_queued_requests: Annotated[
        Annotated[int, Meta(ge=0)], Meta(description="Answers that may wait for a place in the batch; more are refused with 503.")
    ] = 192
    max_loras: Annotated[Annotated[int, Meta(ge=1)], Meta(description="Personal adapters that can be in one batch.")] = 4
    max_lora_rank: Annotated[
        Literal[1, 8, 16, 32, 64, 128, 256, 320, 512], Meta(description="Highest rank of a personal adapter that is accepted.")
    ] = 16
    adapter_store: Annotated[
        str,
        Meta(
            description="Where adapters are kept: a folder, or a bucket as fsspec names it, such as `s3://bucket/adapters`. Replicas and "
            "training workers must share it. Empty: the folder `adapters` in DATA_DIR."
        ),
    ] = ""
    max_loaded_adapters: Annotated[
        Annotated[int, Meta(ge=1)],
        Meta(description="Personal adapters that the engine keeps in memory; the least recently used leave. At least MAX_LORAS."),
    ] = 32
    max_adapter_mib: Annotated[Annotated[int, Meta(ge=1)], Meta(description="Largest adapter that is accepted, in MiB.")] = 512
    adapter_check_seconds: Annotated[
        PositiveSeconds,
        Meta(description="How often loaded adapters are looked up in the store; one deleted elsewhere is served no longer than that."),
    ] = 15.0
    cpu_kv_cache_gib: Annotated[
        Annotated[int, Meta(ge=1)],
        Meta(description="Memory for attention keys and values on a CPU, in GiB (vLLM's VLLM_CPU_KVCACHE_SPACE)."),
    ] = 1
    cpu_number_format: Annotated[
        Literal["auto", "bfloat16", "float32"],
        Meta(
            description="Number format in which models are served and trained on a CPU. `auto` is bfloat16 where the processor has "
            "instructions for it (AVX-512 BF16, AMX, ARM BF16), else float32, which is several times faster there."
        ),
    ] = "auto"
    cpu_threads: Annotated[
        Annotated[int, Meta(ge=0)],
        Meta(description="Threads of the engine on a CPU, half of them while it writes few tokens; 0 is one for each core it may use."),
    ] = 0
    gpu_memory_utilization: Annotated[
        Annotated[float, Meta(gt=0, le=1)], Meta(description="Share of each GPU's memory that the engine may take.")
    ] = 0.85
    tensor_parallel_size: Annotated[Annotated[int, Meta(ge=1)], Meta(description="GPUs that share each layer of the model.")] = 1
    pipeline_parallel_size: Annotated[
        Annotated[int, Meta(ge=1)], Meta(description="Groups of GPUs that share the model's layers in turn.")
    ] = 1
    distributed_executor_backend: Annotated[
        Literal["auto", "ray"],
        Meta(
            description="What runs a model on several GPUs: `auto` is processes of this machine, `ray` a Ray cluster of several machines."
        ),
    ] = "auto"
    reload_mode: Annotated[
        Literal["auto", "beside", "replace"],
        Meta(
            description="How a new model is loaded: `beside` the old one, which serves meanwhile (needs memory for both), or to "
            "`replace` it, with 503 meanwhile. `auto` is beside on a CPU and replace on a GPU."
        ),
    ] = "auto"
    engine_start_timeout_seconds: Annotated[
        PositiveSeconds, Meta(description="How long an engine may take from start to its first token.")
    ] = 1800.0
    canary_interval_seconds: Annotated[
        PositiveSeconds,
        Meta(description="An engine that has finished no step for so long is asked for one token; one without work eight times as seldom."),
    ] = 15.0
    canary_deadline_seconds: Annotated[
        PositiveSeconds,
        Meta(
            description="An engine that, asked for a token, finishes no step and uses no processor time for so long is stuck, and is "
            "replaced. One that computes is given ten minutes. On a GPU only steps count."
        ),
    ] = 30.0
    engine_rebuild_window_seconds: Annotated[
        PositiveSeconds,
        Meta(
            description="Each engine that has to be replaced within so long of another halves the work that the next one lets in; after "
            "so long without one it lets in as much as usual."
        ),
    ] = 600.0

    cache_ttl_seconds: Annotated[Annotated[int, Meta(ge=1)], Meta(description="How long a cached answer is kept, in seconds.")] = 3600
    redis_rewrite_seconds: Annotated[
        Annotated[float, Meta(gt=0, le=86_400)],
        Meta(
            description="After a deletion Redis writes its append-only file anew, so that what was deleted leaves the disk, too: at most"
            " once in so many seconds."
        ),
    ] = 30.0
    ml_service_url: Annotated[
        list[str], Meta(description="Where workers have answers generated: the ML service's replicas, separated by commas.")
    ] = msgspec.field(default_factory=lambda: ["http://127.0.0.1:8100"])
    max_queued_jobs: Annotated[Annotated[int, Meta(ge=1)], Meta(description="Jobs that may wait; more are refused with 503.")] = 10_000
    max_queued_jobs_per_scope: Annotated[
        Annotated[int, Meta(ge=1)], Meta(description="Jobs of one account that may wait; more are refused with 503.")
    ] = 2_000
    job_ttl_seconds: Annotated[Annotated[int, Meta(ge=60)], Meta(description="How long a finished job can be asked for, in seconds.")] = (
        86_400
    )
    job_patience_seconds: Annotated[
        PositiveSeconds, Meta(description="A job for which there was no model for so long after it was accepted fails.")
    ] = 21_600.0
    job_lease_seconds: Annotated[
        Annotated[float, Meta(ge=1)],
        Meta(description="A worker that has not been heard of for so long is taken for dead, and its jobs go to others."),
    ] = 10.0
    job_stall_seconds: Annotated[
        PositiveSeconds, Meta(description="An answer of which nothing new has come for so long is asked for again.")
    ] = 300.0
    worker_jobs: Annotated[Annotated[int, Meta(ge=1)], Meta(description="Answers that one worker has generated at the same time.")] = 32
    worker_heartbeat: Annotated[
        str,
        Meta(description="File that a worker touches twice a second while it goes on, for health checks of containers. Empty: none."),
    ] = ""
    max_queued_trainings: Annotated[
        Annotated[int, Meta(ge=1)], Meta(description="Training jobs that may wait; more are refused with 503. Redis keeps their samples.")
    ] = 100
    max_queued_trainings_per_scope: Annotated[
        Annotated[int, Meta(ge=1)], Meta(description="Training jobs of one account that may wait; more are refused with 503.")
    ] = 10
    training_gpu: Annotated[
        Literal["share", "sleep"],
        Meta(
            description="While a job trains, the engine goes on beside it (`share`: leave it room with GPU_MEMORY_UTILIZATION), or "
            "sleeps and lets requests wait (`sleep`). On a CPU it always goes on."
        ),
    ] = "share"
    sleep_patience_seconds: Annotated[
        PositiveSeconds, Meta(description="How long a request waits for an engine that sleeps; then it gets 503.")
    ] = 10.0
    training_processes: Annotated[
        Annotated[int, Meta(ge=1)],
        Meta(description="Processes that train one job, one for each GPU; more than one are started by accelerate."),
    ] = 1
    training_threads: Annotated[
        Annotated[int, Meta(ge=0)], Meta(description="Processor threads that training may use; 0 is one for each core.")
    ] = 0
    training_priority: Annotated[
        Literal["idle", "normal"],
        Meta(
            description="`idle`: training gets the processor time that drafts and everything else leave, which is all of it while "
            "nobody asks for anything. `normal`: it competes with them."
        ),
    ] = "idle"
    training_max_length: Annotated[
        Annotated[int, Meta(ge=64)],
        Meta(description="Tokens that a sample's prompt and reply may have together in training; older turns are dropped to fit."),
    ] = 1024
    training_stall_seconds: Annotated[
        PositiveSeconds, Meta(description="A training process of which nothing was heard for so long is killed and started again.")
    ] = 300.0
    metrics_port: Annotated[
        Annotated[int, Meta(ge=0, le=65_535)],
        Meta(
            description="Port at which a worker serves its own metrics on HOST, to whoever can reach it; 0: at none. The service has "
            "its own at `/metrics`."
        ),
    ] = 0
    otel_exporter_otlp_endpoint: Annotated[
        str,
        Meta(description="Where traces are sent (OpenTelemetry, OTLP over HTTP), such as http://127.0.0.1:4318. Empty: nothing is traced."),
    ] = ""
    shutdown_grace_seconds: Annotated[
        Annotated[int, Meta(ge=0)], Meta(description="How long open requests may finish after a stop signal, in seconds.")
    ] = 3
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="Least severity that is logged.")] = "info"
    log_format: Annotated[Literal["json", "console"], Meta(description="`json` for machines, `console` for people.")] = "json"

    def __post_init__(self) -> None:
        if self.max_loaded_adapters < self.max_loras:
            raise ValueError(f"MAX_LOADED_ADAPTERS is less than MAX_LORAS ({self.max_loras}): all adapters of a batch must fit in memory")
        if not self.ml_service_token and not is_loopback(self.host):
            raise ValueError(
                "HOST is not a loopback address and ML_SERVICE_TOKEN is not set: anyone who reaches this port could use the model. "
                "Set ML_SERVICE_TOKEN, or listen on 127.0.0.1"
            )
        for name, token in (("ML_SERVICE_TOKEN", self.ml_service_token), ("FORMER_ML_SERVICE_TOKEN", self.former_ml_service_token)):
            if token and len(token) < 16:
                raise ValueError(f"{name} is shorter than 16 characters: make one with `openssl rand -hex 32`")
        if self.former_ml_service_token and not self.ml_service_token:
            raise ValueError("FORMER_ML_SERVICE_TOKEN is set and ML_SERVICE_TOKEN is not: set the new one, too")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address; names other than `localhost` are not looked up and count as reachable."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
