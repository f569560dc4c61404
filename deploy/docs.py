"""Writes docs/CONFIGURATION.md from the settings themselves: `python -m deploy.configuration_page` (a test compares the two)."""

from pathlib import Path

import msgspec

from deploy.local.settings import LocalSettings
from gateway.settings import Settings as GatewaySettings
from ml_service.settings import Settings as MlServiceSettings
from shared.settings import describe

PAGE = Path(__file__).parent.parent / "docs" / "CONFIGURATION.md"

_INTRODUCTION = """\
# Configuration

Every setting is an environment variable. An empty variable counts as unset. A setting that cannot be used stops the start, and the
message names it. `make run` needs none of them: it makes the keys, the database and the queue itself and passes everything else through.

This page is written from the code (`make docs`), and a test fails when the two differ.
"""
_PARTS: dict[str, type[msgspec.Struct]] = {
    "The gateway": GatewaySettings,
    "The ML service": MlServiceSettings,
    "`make run`": LocalSettings,
}


def render() -> str:
    """The page as it should be."""
    return "\n".join([_INTRODUCTION, *(_table(title, settings) for title, settings in _PARTS.items())])


def _table(title: str, settings: type[msgspec.Struct]) -> str:
    rows = [f"## {title}", "", "| variable | default | what it does |", "|---|---|---|"]
    for setting in describe(settings):
        default = "**required**" if setting.required else _shown(setting.default)
        rows.append(f"| `{setting.variable}` | {default} | {setting.description.replace('|', chr(92) + '|')} |")
    return "\n".join([*rows, ""])


def _shown(default: object) -> str:
    if default is None or default in ("", []):
        return "none"
    return f"`{','.join(map(str, default))}`" if isinstance(default, list) else f"`{default}`"


if __name__ == "__main__":
    PAGE.write_text(render())
