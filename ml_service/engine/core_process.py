"""The engine core's process, forked from one that has imported vLLM already: an engine starts, and comes back, in seconds.

See decisions 0017 (on a CPU) and 0026 (on a GPU).

Must be light to import: every process of the engine imports it first.
"""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import forkserver
from typing import Any, Final

from ml_service.models.catalogue import has_gpu
from shared.processes import die_with_parent

PRELOADED: Final = [
    "ml_service.engine.fork_point",
    "vllm.v1.engine.core",
    "vllm.v1.executor.uniproc_executor",
    "vllm.model_executor.models.llama",
]
CPU_WORKER: Final = ["ml_service.engine.cpu_worker"]
GPU_WORKER: Final = ["vllm.v1.worker.gpu_worker", "vllm.v1.worker.gpu.model_runner", "vllm.v1.worker.gpu_model_runner"]
"""Importing them leaves CUDA alone: a process that has touched it cannot be forked."""


def preload() -> None:
    """Let the process that engine cores are forked from begin to import; does nothing where there is one.

    Its environment is the one of now: what vLLM reads while it is imported must be set before. It ends with this process.
    """
    multiprocessing.set_forkserver_preload([*PRELOADED, *(GPU_WORKER if has_gpu() else CPU_WORKER)])
    server: Any = forkserver._forkserver  # there is one, and no other way to it
    server.ensure_running = _ensure_running
    server.ensure_running()


_starter: Final = ThreadPoolExecutor(max_workers=1, thread_name_prefix="fork-point")


def _ensure_running() -> None:
    """As the forkserver's own, which starts another process when that one has died, in whatever thread an engine core is started.

    The process ends with the thread that started it, and all cores with the process: so it is always one thread, which does not end.
    """
    _starter.submit(forkserver.ensure_running).result()


@contextmanager
def core_processes() -> Iterator[None]:
    """Engine cores started inside end when this process is killed; their workers, where there are any, already end with them.

    vLLM starts its core as `get_mp_context().Process(target=EngineCoreProc.run_engine_core)` and offers no hook in that process, so both
    are replaced while it starts one.
    """
    from vllm.v1.engine import utils
    from vllm.v1.engine.core import EngineCoreProc

    original, context = EngineCoreProc.run_engine_core, utils.get_mp_context
    # A forked process has the environment of the one it was forked from.
    EngineCoreProc.run_engine_core = partial(_run_engine_core, dict(os.environ))
    utils.get_mp_context = partial(multiprocessing.get_context, "forkserver")
    try:
        yield
    finally:
        EngineCoreProc.run_engine_core = staticmethod(original)
        utils.get_mp_context = context


def _run_engine_core(environment: Mapping[str, str], *args: Any, **kwargs: Any) -> None:
    """Runs in the engine core's process, where nothing is replaced."""
    _die_with_service()
    from vllm.utils.system_utils import set_process_title

    set_process_title("EngineCore")  # before the environment changes: its place in memory could not be found afterwards
    os.environ.update(environment)
    if "OMP_NUM_THREADS" in environment:  # read when a process starts, and this one was forked
        import torch

        torch.set_num_threads(int(environment["OMP_NUM_THREADS"]))
    from vllm.v1.engine.core import EngineCoreProc

    run: Callable[..., None] = EngineCoreProc.run_engine_core
    run(*args, **kwargs)


def _die_with_service() -> None:
    """The parent of a core is the service, or the process that it was forked from, whose parent is the service."""
    die_with_parent()
    service = multiprocessing.parent_process()
    if service is not None and not service.is_alive():  # it died before the request was made
        os._exit(1)
