"""vLLM's worker for CPUs, with this project's operations where vLLM's are wrong or slow.

Imports vLLM: only the engine's own process imports this, by name.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

import torch
from torch.distributed import ProcessGroupGloo, Store, distributed_c10d
from vllm.platforms.cpu import CpuPlatform
from vllm.v1.sample.ops import topk_topp_sampler
from vllm.v1.worker.cpu_worker import CPUWorker

from ml_service.engine.cpu_adapters import CpuAdapters, lay_out
from ml_service.engine.cpu_sampling import cut_nucleus

FEW_TOKENS: Final = 4
"""A step of no more waits for the model's weights to come from memory: half of the threads are nearly as fast as all of them."""


class EngineCpuWorker(CPUWorker):  # type: ignore[misc] # vLLM is not typed
    """Replaces the operations in its own process, before the model is loaded."""

    def init_device(self) -> None:
        # vLLM takes the function away, lest a library changes what it has set.
        self._threads, self._set_threads = torch.get_num_threads(), torch.set_num_threads
        with _one_network_thread():
            super().init_device()

    def load_model(self, *args: Any, **kwargs: Any) -> None:
        CpuPlatform.get_punica_wrapper = classmethod(lambda _platform: f"{CpuAdapters.__module__}.{CpuAdapters.__qualname__}")
        topk_topp_sampler.apply_top_k_top_p_pytorch = cut_nucleus
        super().load_model(*args, **kwargs)
        model = self.model_runner.model
        if not all(isinstance(operations, CpuAdapters) for operations in model.lora_manager.punica_wrapper_mapping.values()):
            # Better no engine than one that lets accounts speak with each other's voices.
            raise RuntimeError("This vLLM chooses its LoRA operations in another way: see ml_service.engine.cpu_adapters")
        lay_out(model)

    def execute_model(self, scheduler_output: Any, *args: Any, **kwargs: Any) -> Any:
        # Few tokens leave half of the cores to whatever else runs: threads wait for each other at every operation, and where one of them
        # shares its core, all take many times as long.
        few = scheduler_output.total_num_scheduled_tokens <= FEW_TOKENS
        self._set_threads(max(1, self._threads // 2) if few else self._threads)
        return super().execute_model(scheduler_output, *args, **kwargs)

    def sample_tokens(self, *args: Any, **kwargs: Any) -> Any:
        with _only_finished_prompts_draw(self.model_runner):
            return super().sample_tokens(*args, **kwargs)


@contextmanager
def _only_finished_prompts_draw(runner: Any) -> Iterator[None]:
    """A request whose prompt is read in several steps draws from its own random numbers after the last one only.

    vLLM lets it draw in each, and takes that back in a way that only a GPU's generators have: a seeded request with a long prompt, or
    beside many others, ended the engine.
    """
    generators = runner.input_batch.generators
    unfinished = runner.discard_request_mask.np[: runner.input_batch.num_reqs].nonzero()[0].tolist()
    kept = {index: generators.pop(index) for index in unfinished if index in generators}
    try:
        yield
    finally:
        generators.update(kept)


@contextmanager
def _one_network_thread() -> Iterator[None]:
    """Process groups that are made inside share Gloo's network device.

    A device has a thread that wakes up 100 times a second whether anything comes or not, and each group makes a device of its own. vLLM
    makes a dozen groups even for a single process, which together took more than a percent of a core from a machine at rest.
    """
    device = ProcessGroupGloo.create_default_device()

    class SharingGroup(ProcessGroupGloo):  # type: ignore[misc, unused-ignore]
        def __init__(self, store: Store, rank: int, size: int, timeout: timedelta) -> None:
            options = ProcessGroupGloo._Options()
            options._timeout = timeout
            options._devices = [device]
            super().__init__(store, rank, size, options)

    distributed_c10d.ProcessGroupGloo = SharingGroup
    try:
        yield
    finally:
        distributed_c10d.ProcessGroupGloo = ProcessGroupGloo
