"""What a model can do in a project. Every tool is named here, and there are no others."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from gateway.workspace.tools.apply_patch import ApplyPatch
from gateway.workspace.tools.base import Tool
from gateway.workspace.tools.fetch_web_page import FetchWebPage
from gateway.workspace.tools.forget_files import ForgetFiles
from gateway.workspace.tools.move_files import MoveFiles
from gateway.workspace.tools.rename_files import RenameFiles
from gateway.workspace.tools.request_files import RequestFiles
from gateway.workspace.tools.rewrite_file import RewriteFile
from gateway.workspace.tools.run_command import RunCommand
from gateway.workspace.tools.search_and_replace import SearchAndReplace
from gateway.workspace.tools.search_project import SearchProject
from gateway.workspace.tools.web import WebPages


def all_tools(pages: WebPages) -> Mapping[str, Tool[Any]]:
    """The tools by name."""
    tools: list[Tool[Any]] = [
        MoveFiles(),
        RenameFiles(),
        RequestFiles(),
        ForgetFiles(),
        RewriteFile(),
        SearchAndReplace(),
        ApplyPatch(),
        SearchProject(),
        RunCommand(),
        FetchWebPage(pages),
    ]
    return MappingProxyType({tool.name: tool for tool in tools})
