"""vLLM's own OpenAI-compatible app over an engine that is already there. Imports vLLM: only `vllm_engine` imports this."""

from types import SimpleNamespace
from typing import cast

from vllm.entrypoints.launchers.api_server.app_state import init_app_state
from vllm.entrypoints.launchers.app import build_app
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser
from vllm.v1.engine.async_llm import AsyncLLM

from ml_service.engine.protocol import AsgiApp
from ml_service.models.catalogue import ModelEntry


async def build_openai_app(llm: AsyncLLM, entry: ModelEntry) -> AsgiApp:
    """The app whose `/v1` paths are served; its other paths are never reached."""
    arguments = ["--model", llm.model_config.model, "--served-model-name", entry.name, "--disable-fastapi-docs"]
    if entry.tool_parser is not None:
        arguments += ["--enable-auto-tool-choice", "--tool-call-parser", entry.tool_parser]
    args = make_arg_parser(FlexibleArgumentParser()).parse_args(arguments)
    tasks = await llm.get_supported_tasks()
    app = build_app(args, tasks, llm.model_config)
    await init_app_state(llm, app.state, args, tasks)
    # vLLM's error handler asks its server to stop when the engine is dead; here the supervisor replaces the engine.
    app.state.server = SimpleNamespace(should_exit=False)
    return cast("AsgiApp", app)
