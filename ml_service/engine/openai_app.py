"""vLLM's own OpenAI-compatible app over an engine that is already there. Imports vLLM: only `vllm_engine` imports this."""

import json
from types import SimpleNamespace
from typing import Any, cast

from fastapi import Request
from fastapi.responses import JSONResponse
from vllm.entrypoints.launchers.api_server.app_state import init_app_state
from vllm.entrypoints.launchers.app import build_app
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.entrypoints.openai.models.api_router import show_available_models
from vllm.renderers.hf import HfRenderer
from vllm.utils.argparse_utils import FlexibleArgumentParser
from vllm.v1.engine.async_llm import AsyncLLM

from ml_service.engine.protocol import AsgiApp
from ml_service.models.catalogue import ModelEntry
from ml_service.models.prompts import ChatTemplateRenderer


async def build_openai_app(llm: AsyncLLM, entry: ModelEntry, prompts: ChatTemplateRenderer) -> AsgiApp:
    """The app whose `/v1` paths are served; its other paths are never reached."""
    _keep_text_apart(llm.renderer, prompts)
    arguments = ["--model", llm.model_config.model, "--served-model-name", entry.name, "--disable-fastapi-docs"]
    if entry.tool_parser is not None:
        arguments += ["--enable-auto-tool-choice", "--tool-call-parser", entry.tool_parser]
    args = make_arg_parser(FlexibleArgumentParser()).parse_args(arguments)
    tasks = await llm.get_supported_tasks()
    app = build_app(args, tasks, llm.model_config)
    app.add_api_route("/v1/models/{name:path}", _describe_model)
    await init_app_state(llm, app.state, args, tasks)
    # vLLM's error handler asks its server to stop when the engine is dead; here the supervisor replaces the engine.
    app.state.server = SimpleNamespace(should_exit=False)
    return cast("AsgiApp", app)


async def _describe_model(name: str, request: Request) -> JSONResponse:
    """OpenAI's "retrieve model", which vLLM's app does not have: an element of its list, or a 404 in its words."""
    for model in json.loads((await show_available_models(request)).body)["data"]:
        if model["id"] == name:
            return JSONResponse(model)
    error = {"message": f"The model `{name}` does not exist.", "type": "NotFoundError", "param": "model", "code": 404}
    return JSONResponse({"error": error}, status_code=404)


def _keep_text_apart(renderer: HfRenderer, prompts: ChatTemplateRenderer) -> None:
    """Have what looks like a control token in messages and tools be read as text. vLLM tokenises the rendered template as one.

    Raises:
        TypeError: this vLLM renders this model in another way.
    """
    if not isinstance(renderer, HfRenderer):
        raise TypeError(f"{type(renderer).__name__} renders chats of this model: see ml_service.engine.openai_app")
    apply_template = renderer._apply_chat_template_async

    async def apply_to_text(config: Any, tokenizer: Any, conversation: Any, **options: Any) -> Any:
        (plain, tools), concealed = prompts.conceal([conversation, options.get("tools")])
        if not concealed:
            return await apply_template(config, tokenizer, conversation, **options)
        rendered = await apply_template(config, tokenizer, plain, **{**options, "tools": tools, "tokenize": False})
        return prompts.reveal(rendered, concealed)

    renderer._apply_chat_template_async = apply_to_text
