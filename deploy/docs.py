"""Writes the pages that repeat what is elsewhere, settings and titles of decisions: `python -m deploy.docs`. A test compares them."""

from pathlib import Path

import msgspec

from deploy.local.settings import LocalSettings
from gateway.backup.settings import BackupSettings
from gateway.settings import Settings as GatewaySettings
from ml_service.settings import Settings as MlServiceSettings
from shared.settings import describe

_DOCS = Path(__file__).parent.parent / "docs"

_INTRODUCTION = """\
# Configuration

Every setting is an environment variable. An empty variable counts as unset. Each can also be read from a file, which the variable with
`_FILE` behind its name names: `JWT_KEYS_FILE=/run/secrets/jwt_keys`. A setting that cannot be used stops the start, and the message names
it. `make run` needs none of them: it makes the keys, the database and the queue itself and passes everything else through.

This page is written from the code (`make docs`), and a test fails when the two differ.
"""
_PARTS: dict[str, type[msgspec.Struct]] = {
    "The gateway": GatewaySettings,
    "`gateway backup` and `gateway restore`": BackupSettings,
    "The ML service": MlServiceSettings,
    "`make run`": LocalSettings,
}


def pages() -> dict[Path, str]:
    """Each page as it should be."""
    configuration = "\n".join([_INTRODUCTION, *(_table(title, settings) for title, settings in _PARTS.items())])
    return {_DOCS / "CONFIGURATION.md": configuration, _DOCS / "decisions" / "README.md": _decisions()}


def _decisions() -> str:
    titles = {page.name: page.read_text().splitlines()[0].removeprefix("# ") for page in sorted((_DOCS / "decisions").glob("[0-9]*.md"))}
    lines = [f"- [{name[:4]}]({name}) {title}" for name, title in titles.items()]
    return "\n".join(["# Decisions", "", "What somebody will ask about: why it is so, and what it costs.", "", *lines, ""])


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
    for page, text in pages().items():
        page.write_text(text)
