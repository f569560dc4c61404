"""What loads models: vLLM, or its double."""

import asyncio
import importlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ml_service import logs
from ml_service.engine.core_process import preload
from ml_service.engine.protocol import EngineFactory, LoadedModel
from ml_service.engine.scripted_engine import scripted_factory
from ml_service.models.catalogue import ModelEntry, has_gpu
from ml_service.settings import Settings


def default_engine_factory(settings: Settings) -> EngineFactory:
    """What loads models as the settings ask for it; vLLM is imported with the first one, which takes seconds."""
    if settings.engine == "scripted":
        return scripted_factory()
    data_dir = Path(settings.data_dir).resolve()
    logs.configure_engine_processes(settings, data_dir)
    os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "spawn"
    os.environ["VLLM_NO_USAGE_STATS"] = "1"  # nothing about this service is sent anywhere
    os.environ["VLLM_ENGINE_READY_TIMEOUT_S"] = str(int(settings.engine_start_timeout_seconds))
    if has_gpu():
        # Left to itself, vLLM's first start keeps its kernels beside the model that it compiles, where the second, which finds that model
        # compiled, does not look for them.
        os.environ.setdefault("TRITON_CACHE_DIR", str(data_dir / "cache" / "triton"))
    else:
        # Gains nothing where everything runs eagerly, and would need a C++ compiler, and 18 s at a machine's first start.
        os.environ["TORCH_COMPILE_DISABLE"] = "1"
        # OpenMP's threads spin for milliseconds while they wait for one another. Where one has lost its core to another process, the others
        # burn theirs until it is back, and lose them in turn: a draft took many times as long beside busy processes (decision 0017).
        os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    preload()  # while this process imports the same

    async def load(entry: ModelEntry) -> LoadedModel:
        # Not the loop's own threads: the end of the service would wait for them.
        importing = ThreadPoolExecutor(max_workers=1)
        module = await asyncio.get_running_loop().run_in_executor(importing, importlib.import_module, "ml_service.engine.vllm_engine")
        importing.shutdown(wait=False)
        model: LoadedModel = await module.VllmEngine.start(entry, settings)
        return model

    return load
