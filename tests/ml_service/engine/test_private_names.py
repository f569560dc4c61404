"""Names inside of vLLM, torch, transformers and TRL that are used or replaced here: an upgrade that changes one fails with its name.

Each has a row in docs/decisions/0024-private-names.md, which says what breaks.
"""

import inspect
from collections.abc import Callable
from multiprocessing import forkserver
from typing import Any

import pytest

pytest.importorskip("vllm.v1.worker.cpu_worker")

from torch.distributed import ProcessGroupGloo, distributed_c10d
from transformers import Trainer
from transformers.masking_utils import find_packed_sequence_indices
from transformers.modeling_layers import GradientCheckpointingLayer
from trl import DPOTrainer
from vllm.entrypoints.launchers.api_server.app_state import init_app_state
from vllm.entrypoints.launchers.app import build_app
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.entrypoints.openai.models.api_router import show_available_models
from vllm.lora.layers.base_linear import BaseLinearLayerWithLoRA
from vllm.lora.model_manager import LoRAModelManager
from vllm.lora.punica_wrapper.punica_base import PunicaWrapperBase
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU
from vllm.platforms.cpu import CpuPlatform
from vllm.renderers.hf import HfRenderer
from vllm.utils.cpu_resource_utils import get_allowed_cpu_list, get_visible_memory_node
from vllm.utils.system_utils import set_env_var, set_process_title
from vllm.utils.torch_utils import available_cpu_count
from vllm.v1.engine import utils
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.core import EngineCoreProc
from vllm.v1.engine.core_client import BackgroundResources
from vllm.v1.engine.output_processor import OutputProcessor
from vllm.v1.executor.uniproc_executor import UniProcExecutor
from vllm.v1.metrics.loggers import StatLoggerBase
from vllm.v1.sample.ops import topk_topp_sampler
from vllm.v1.worker.cpu_worker import CPUWorker
from vllm.v1.worker.gpu_input_batch import InputBatch
from vllm.v1.worker.gpu_model_runner import GPUModelRunner

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (topk_topp_sampler.apply_top_k_top_p_pytorch, ("logits", "k", "p", "allow_cpu_sync")),
        (PunicaWrapperCPU.update_metadata, ("self", "mapping", "lora_index_to_id", "max_loras", "vocab_size")),
        (PunicaWrapperCPU.add_lora_linear, ("self", "y", "x", "lora_a_stacked", "lora_b_stacked", "scale", "output_slices")),
        (PunicaWrapperCPU.add_lora_logits, ("self", "y", "x", "lora_a_stacked", "lora_b_stacked", "scale")),
        (PunicaWrapperCPU.add_lora_embedding, ("self", "y", "x", "lora_b_stacked")),
        (CpuPlatform.get_punica_wrapper, ()),
        (CPUWorker.init_device, ("self",)),
        (CPUWorker.load_model, ("self",)),
        (CPUWorker.execute_model, ("self", "scheduler_output")),
        (CPUWorker.sample_tokens, ("self",)),
        (build_app, ("args", "supported_tasks", "model_config")),
        (init_app_state, ("engine_client", "state", "args", "supported_tasks")),
        (make_arg_parser, ("parser",)),
        (show_available_models, ("raw_request",)),
        (OutputProcessor.propagate_error, ("self", "e")),
        (AsyncLLM.shutdown, ("self", "timeout")),
        (StatLoggerBase.record, ("self", "scheduler_stats", "iteration_stats")),
        (set_process_title, ("name",)),
        (set_env_var, ("key", "value")),
        (get_allowed_cpu_list, ()),
        (get_visible_memory_node, ()),
        (available_cpu_count, ()),
        (Trainer.training_step, ("self", "model", "inputs", "num_items_in_batch")),
        (DPOTrainer._prepare_dataset, ("self", "dataset")),
        (DPOTrainer.compute_loss, ("self", "model", "inputs", "return_outputs", "num_items_in_batch")),
        (Trainer._prepare_inputs, ("self", "inputs")),
        (Trainer.compute_loss_context_manager, ("self",)),
        (find_packed_sequence_indices, ("position_ids",)),
    ],
    ids=lambda value: value.__qualname__ if callable(value) else "",
)
def test_a_function_takes_what_it_is_given_here(function: Callable[..., Any], parameters: tuple[str, ...]) -> None:
    assert tuple(inspect.signature(function).parameters)[: len(parameters)] == parameters


@pytest.mark.parametrize(
    ("place", "text"),
    [
        (utils.CoreEngineProcManager, "get_mp_context()"),
        (utils.CoreEngineProcManager, "EngineCoreProc.run_engine_core"),
        (LoRAModelManager, "self.punica_wrapper_mapping"),
        (BaseLinearLayerWithLoRA, "self.lora_b_stacked = tuple("),
        (GPUModelRunner, "self.discard_request_mask.np"),
        (InputBatch, "self.generators: dict[int, torch.Generator]"),
        (HfRenderer, "self._apply_chat_template_async("),
        (AsyncLLM, "self.output_processor = "),
        (topk_topp_sampler, "return apply_top_k_top_p_pytorch("),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_a_name_that_is_used_or_replaced_is_used_there(place: Any, text: str) -> None:
    assert text in inspect.getsource(place)


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (PunicaWrapperBase, "token_lora_indices"),
        (PunicaWrapperBase, "sampler_indices"),
        (EngineCoreProc, "run_engine_core"),
        (AsyncLLM, "errored"),
        (AsyncLLM, "get_num_unfinished_requests"),
        (BackgroundResources, "engine_manager"),
        (BackgroundResources, "__call__"),
        (UniProcExecutor, "collective_rpc"),
        (GradientCheckpointingLayer, "gradient_checkpointing"),
        (distributed_c10d, "ProcessGroupGloo"),
        (ProcessGroupGloo, "create_default_device"),
    ],
)
def test_an_attribute_is_there(owner: Any, name: str) -> None:
    assert hasattr(owner, name)


def test_gloo_takes_a_device_that_is_there_already() -> None:
    options = ProcessGroupGloo._Options()
    options._devices = [ProcessGroupGloo.create_default_device()]
    assert len(options._devices) == 1
    assert options._timeout


def test_there_is_one_forkserver_that_can_be_started_ahead() -> None:
    # Not the server's own attribute, which an engine that was started here has replaced.
    ensure_running: Any = forkserver.ensure_running
    assert ensure_running.__self__ is forkserver._forkserver
    assert ensure_running.__func__ is type(forkserver._forkserver).ensure_running
