"""vLLM behind the engine protocol; the only module that imports it.

Importing vLLM takes many seconds, so nothing imports this module before an engine is wanted: see `ml_service.app.engine_factory`.
"""

import asyncio
import math
import os
import signal
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import psutil
import structlog
import torch
from vllm import SamplingParams
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.exceptions import GracefulHTTPError, VLLMClientError, VLLMError
from vllm.inputs.engine import tokens_input
from vllm.lora.request import LoRARequest
from vllm.platforms import current_platform
from vllm.sampling_params import RequestOutputKind
from vllm.usage.usage_lib import UsageContext
from vllm.utils.cpu_resource_utils import get_allowed_cpu_list, get_visible_memory_node
from vllm.utils.system_utils import set_env_var
from vllm.utils.torch_utils import available_cpu_count
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError
from vllm.v1.executor.uniproc_executor import UniProcExecutor
from vllm.v1.metrics.loggers import StatLoggerBase

from ml_service.engine.core_process import core_processes, preload
from ml_service.engine.openai_app import build_openai_app
from ml_service.engine.protocol import (
    Adapter,
    AdapterRefused,
    AsgiApp,
    Delta,
    EngineAway,
    GenerationFailed,
    LoadedModel,
    QueueFull,
    RequestRefused,
    Sampling,
)
from ml_service.models.catalogue import ModelEntry, checkpoint
from ml_service.models.number_format import CPU_STEP_TOKENS, cpu_number_format
from ml_service.models.prompts import ChatTemplateRenderer
from ml_service.settings import Settings
from shared.contracts.generation import FinishReason

GIB: Final = 2**30
STOP_SECONDS: Final = 2.0
MOST_ANSWERS: Final = 4
"""That one request may ask for: an engine with nothing to do takes in any request."""
FINISH_REASONS: Final[dict[str, FinishReason]] = {"stop": "stop", "length": "length", "repetition": "stop"}

log = structlog.get_logger(__name__)


class _Pulse(StatLoggerBase):  # type: ignore[misc] # vLLM is not typed
    """Hears of every step of the engine's loop, whoever asked for it."""

    def __init__(self, _config: object, _engine_index: int = 0) -> None:
        self.last_progress = time.monotonic()

    def record(self, *_args: Any, **_kwargs: Any) -> None:
        self.last_progress = time.monotonic()

    def log_engine_initialized(self) -> None:
        """Nothing to say."""


class VllmEngine:
    """One vLLM engine: its client lives here, its core and workers in processes of their own."""

    def __init__(self, llm: AsyncLLM, pulse: _Pulse, thread: ThreadPoolExecutor, openai: AsgiApp) -> None:
        self._llm = llm
        self._pulse = pulse
        self._thread = thread
        self._openai = openai
        self._closed = False
        self._asleep = False

    @classmethod
    async def start(cls, entry: ModelEntry, settings: Settings) -> "LoadedModel":
        """Load a model; the event loop stays free meanwhile.

        Raises:
            Exception: whatever vLLM, transformers or the hub raise when a model cannot be loaded.
        """
        preload()
        # Loading blocks for a minute, so it runs in a thread; and that thread must live as long as the engine, because the
        # parent-death signal of a child is sent when the thread that started it ends.
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine")
        loading = thread.submit(_load, entry, settings)
        try:
            llm, pulse, renderer = await asyncio.shield(asyncio.wrap_future(loading))
        except asyncio.CancelledError:
            thread.submit(_discard, loading)
            thread.shutdown(wait=False)
            raise
        except BaseException:
            thread.shutdown(wait=False)
            raise
        try:
            engine = cls(llm, pulse, thread, await build_openai_app(llm, entry, renderer))
        except BaseException:
            await _dispose(llm, thread)
            raise
        return LoadedModel(entry=entry, engine=engine, renderer=renderer)

    @property
    def context_length(self) -> int:
        return int(self._llm.model_config.max_model_len)

    @property
    def alive(self) -> bool:
        return not self._closed and not self._llm.errored

    @property
    def last_progress(self) -> float:
        return self._pulse.last_progress

    def processor_seconds(self) -> float:
        if not current_platform.is_cpu():
            return 0.0
        seconds = 0.0
        for pid in self.process_ids():
            with suppress(psutil.NoSuchProcess):
                core = psutil.Process(pid)
                for process in (core, *core.children(recursive=True)):
                    times = process.cpu_times()
                    seconds += times.user + times.system
        return seconds

    @property
    def running(self) -> int:
        return int(self._llm.get_num_unfinished_requests())

    async def generate(
        self, prompt: Sequence[int], sampling: Sampling, adapter: Adapter | None = None, *, scope: str | None = None
    ) -> AsyncGenerator[Delta, None]:
        self._check_open()
        # Greedy answers are all the same, and vLLM refuses to generate more than one of them.
        copies = sampling.n if sampling.temperature == 0 else 1
        params = _sampling_params(sampling, sampling.n // copies)
        tokens = tokens_input(list(prompt), cache_salt=scope)
        outputs = self._llm.generate(tokens, params, uuid4().hex, lora_request=_lora_request(adapter))
        with _vllm_errors():
            async with aclosing(outputs):
                async for output in outputs:
                    for answer in output.outputs:
                        delta = _delta(answer)
                        yield delta
                        for index in range(1, copies):
                            yield replace(delta, index=index)

    async def add_adapter(self, adapter: Adapter) -> None:
        self._check_open()
        request = _lora_request(adapter)
        try:
            added = await self._llm.add_lora(request)
        except EngineDeadError as error:
            raise EngineAway("The engine died") from error
        except Exception as error:  # vLLM passes on whatever the loader raised, of any type
            if self._llm.errored:
                raise EngineAway("The engine died") from error
            raise AdapterRefused("The adapter's files are missing, damaged or not of a kind that this model can use") from error
        if not added:
            raise AdapterRefused("The engine has already loaded an adapter with this number")

    async def remove_adapter(self, adapter: Adapter) -> None:
        self._check_open()
        with _vllm_errors():
            await self._llm.remove_lora(adapter.number)

    async def sleep(self) -> None:
        self._check_open(awake=False)
        if self._asleep:
            return
        self._asleep = True  # first: an adapter that is loaded into memory which was given back would kill the engine
        if self._llm.model_config.enable_sleep_mode:
            with _vllm_errors():
                await self._llm.sleep(level=1)  # weights go to the machine's memory

    async def wake_up(self) -> None:
        self._check_open(awake=False)
        if self._asleep and self._llm.model_config.enable_sleep_mode:
            with _vllm_errors():
                await self._llm.wake_up()
        self._asleep = False

    def openai_app(self) -> AsgiApp | None:
        return self._openai

    def process_ids(self) -> list[int]:
        """The engine core's processes, for tests and operators who want to hurt them."""
        manager = self._llm.engine_core.resources.engine_manager
        return [process.pid for process in manager.processes] if manager is not None else []

    async def shutdown(self) -> None:
        if self._closed:
            return
        self._closed = True
        # vLLM's shutdown may cancel the task that would have told waiting consumers, and they would wait for ever.
        self._llm.output_processor.propagate_error(EngineDeadError())
        # A stopped process takes no SIGTERM, and a stuck one may not heed it: continue it, give it some seconds, then kill.
        for pid in self.process_ids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        await _dispose(self._llm, self._thread)

    def _check_open(self, *, awake: bool = True) -> None:
        if self._closed:
            raise EngineAway("The engine was stopped")
        if awake and self._asleep:
            raise EngineAway("The engine sleeps while something trains on its GPU", retry_after=10)


async def _dispose(llm: AsyncLLM, thread: ThreadPoolExecutor) -> None:
    await asyncio.get_running_loop().run_in_executor(thread, _end, llm)
    thread.shutdown(wait=False)


def _end(llm: AsyncLLM) -> None:
    try:
        llm.shutdown(STOP_SECONDS)
    except psutil.NoSuchProcess:
        # The core stopped by itself just when vLLM was about to kill it. It is gone, as it should be, but vLLM gave up on
        # the spot: its sockets and tasks are still open.
        llm.engine_core.resources()
        llm.shutdown()


_Loaded = tuple[AsyncLLM, _Pulse, ChatTemplateRenderer]


def _discard(loading: "Future[_Loaded]") -> None:
    """Stop an engine that was loaded after everyone had stopped waiting for it."""
    if loading.exception() is None:
        _end(loading.result()[0])


def _load(entry: ModelEntry, settings: Settings) -> _Loaded:
    model = checkpoint(entry, Path(settings.data_dir).resolve())
    renderer = ChatTemplateRenderer.load(model, entry.revision)
    pulses: list[_Pulse] = []

    def make_pulse(config: object, engine_index: int) -> _Pulse:
        pulses.append(_Pulse(config, engine_index))
        return pulses[-1]

    arguments = _engine_args(entry, model, settings)
    log.info("number format", model=entry.name, number_format=arguments.dtype)
    config = arguments.create_engine_config(UsageContext.ENGINE_CONTEXT)
    with _threads(settings), core_processes():
        llm = AsyncLLM.from_vllm_config(config, stat_loggers=[make_pulse])
    return llm, pulses[0], renderer


def _engine_args(entry: ModelEntry, model: str, settings: Settings) -> AsyncEngineArgs:
    on_cpu = current_platform.is_cpu()
    context_length = min(entry.context_length, settings.max_model_len or entry.context_length)
    return AsyncEngineArgs(
        model=model,
        revision=entry.revision,
        served_model_name=[entry.name],
        dtype=cpu_number_format(settings.cpu_number_format) if on_cpu else entry.dtype,
        tokenizer_mode="hf",  # the prompts' own tokenizer, so that ids agree
        max_model_len=context_length,
        max_num_seqs=settings.max_num_seqs,
        max_num_batched_tokens=_step_tokens(settings) if on_cpu else None,
        max_num_queued_reqs=max(settings.max_num_seqs + settings.max_queued_requests, MOST_ANSWERS),
        enable_lora=True,  # LoRA cannot be switched on later
        max_loras=settings.max_loras,
        lora_dtype=torch.float32 if on_cpu else "auto",
        max_cpu_loras=settings.max_loaded_adapters,  # vLLM never evicts one by itself: the registry keeps to this number
        max_lora_rank=settings.max_lora_rank,
        enable_prefix_caching=True,
        distributed_executor_backend=_executor(settings),
        worker_cls="ml_service.engine.cpu_worker.EngineCpuWorker" if on_cpu else "auto",
        enforce_eager=on_cpu,  # with LoRA vLLM's CPU path is eager anyway, and starts sooner when told so
        kv_cache_memory_bytes=settings.cpu_kv_cache_gib * GIB if on_cpu else None,
        gpu_memory_utilization=settings.gpu_memory_utilization,
        tensor_parallel_size=settings.tensor_parallel_size,
        pipeline_parallel_size=settings.pipeline_parallel_size,
        enable_sleep_mode=settings.training_gpu == "sleep" and not on_cpu,
        limit_mm_per_prompt={"image": 0} if entry.text_only else {},
        # JSON without whitespace is a third shorter, and small models lose themselves in it. xgrammar knows fewer kinds of schema.
        structured_outputs_config={"backend": "guidance", "disable_any_whitespace": True},
        enable_log_requests=False,
        use_tqdm_on_load=False,
    )


def _step_tokens(settings: Settings) -> int:
    return max(CPU_STEP_TOKENS[cpu_number_format(settings.cpu_number_format)], settings.max_num_seqs)  # a step has a token of each answer


def _executor(settings: Settings) -> type[UniProcExecutor] | str | None:
    """What runs the model; None leaves it to vLLM."""
    if _in_one_process(settings):
        return UniProcExecutor  # type: ignore[no-any-return]
    return "ray" if settings.distributed_executor_backend == "ray" else None


def _in_one_process(settings: Settings) -> bool:
    """Whether the engine's core runs the model itself.

    On a CPU vLLM gives the model a process of its own, so that its threads can be bound to one node of memory, and the core waits for it
    spinning: on a small machine that takes a core from the model. With one such node nothing needs to be bound.
    """
    processes = settings.tensor_parallel_size * settings.pipeline_parallel_size
    return current_platform.is_cpu() and processes == 1 and len(get_visible_memory_node()) == 1


@contextmanager
def _threads(settings: Settings) -> Iterator[None]:
    """Let engine cores that are started inside compute with as many threads as they are given, or as there are cores for them."""
    if not _in_one_process(settings):  # vLLM sees to it
        yield
        return
    cores = len({cpu.physical_core for cpu in get_allowed_cpu_list()})
    threads = settings.cpu_threads or os.environ.get("OMP_NUM_THREADS") or min(cores, available_cpu_count())
    with set_env_var("OMP_NUM_THREADS", str(threads)):
        yield


def _sampling_params(sampling: Sampling, n: int) -> SamplingParams:
    return SamplingParams(
        n=n,
        max_tokens=sampling.max_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        repetition_penalty=sampling.repetition_penalty,
        stop=list(sampling.stop),
        seed=sampling.seed,
        logprobs=0,  # of the drawn token only
        flat_logprobs=True,
        output_kind=RequestOutputKind.DELTA,
    )


def _lora_request(adapter: Adapter | None) -> LoRARequest | None:
    return LoRARequest(adapter.name, adapter.number, adapter.path) if adapter else None


def _delta(answer: Any) -> Delta:
    reason = answer.finish_reason
    if reason is not None and reason not in FINISH_REASONS:  # "abort" and "error" that nobody here asked for
        raise EngineAway("The engine stopped while it generated")
    probability_sum = sum(map(math.exp, answer.logprobs.logprobs)) if answer.logprobs else 0.0
    return Delta(answer.index, answer.text, len(answer.token_ids), probability_sum, FINISH_REASONS[reason] if reason else None)


@contextmanager
def _vllm_errors() -> Iterator[None]:
    """Translate vLLM's errors; none of its texts reaches a client."""
    try:
        yield
    except EngineDeadError as error:
        raise EngineAway("The engine died while it generated; it is being started again") from error
    except GracefulHTTPError as error:
        raise QueueFull("The engine has as much work as it may queue") from error
    except VLLMClientError as error:
        log.warning("engine refused a request", kind=type(error).__name__)
        raise RequestRefused("The engine refuses this prompt or one of its sampling fields") from error
    except VLLMError as error:
        log.error("generation failed", exc_info=error)
        raise GenerationFailed("The generation failed") from error
