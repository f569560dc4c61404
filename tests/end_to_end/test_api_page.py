"""docs/API.md tells the truth: its examples run, in order, and each answer has the shape that is printed under it."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.ml_service import MlServiceProcess
from tests.fixtures.waiting import ENGINE_SECONDS

PAGE = Path(__file__).parents[2] / "docs" / "API.md"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# How a block of each language is run by the one shell that runs them all.
SHELL = {
    "bash": "{}",
    "python": "export GATEWAY TOKEN; \"$PYTHON\" - <<'END-OF-EXAMPLE'\n{}END-OF-EXAMPLE",
    "js": "export GATEWAY TOKEN; node --input-type=module - <<'END-OF-EXAMPLE'\n{}END-OF-EXAMPLE",
}
if shutil.which("node") is None:
    del SHELL["js"]
MARK = "--- end of example {} ---"


@dataclass
class Example:
    """A block of shell, and the JSON that is printed right under it."""

    line: int
    shell: str
    printed: str | None = None


def examples() -> list[Example]:
    text = PAGE.read_text()
    found: list[Example] = []
    end_of_last = -1
    for match in FENCE.finditer(text):
        language, content = match.groups()
        if language in SHELL:
            found.append(Example(text[: match.start()].count("\n") + 1, SHELL[language].format(content)))
        elif language == "json" and text[end_of_last : match.start()].strip() == "":
            found[-1].printed = content
        end_of_last = match.end()
    return found


def same_shape(printed: Any, answered: Any, place: str = "$") -> list[str]:
    """What differs in names and types; a list is compared by its first element, and null may stand for anything."""
    if printed is None or answered is None:
        return []
    if isinstance(printed, dict) and isinstance(answered, dict):
        problems = [f"{place}: only one has {name!r}" for name in printed.keys() ^ answered.keys()]
        for name in printed.keys() & answered.keys():
            problems += same_shape(printed[name], answered[name], f"{place}.{name}")
        return problems
    if isinstance(printed, list) and isinstance(answered, list):
        return same_shape(printed[0], answered[0], f"{place}[0]") if printed and answered else []
    numbers = (int, float)
    if isinstance(printed, numbers) and isinstance(answered, numbers) and isinstance(printed, bool) == isinstance(answered, bool):
        return []
    return [] if type(printed) is type(answered) else [f"{place}: {printed!r} is printed, {answered!r} came"]


def test_every_example_runs_and_answers_as_printed(whole_system: GatewayProcess, model_service: MlServiceProcess) -> None:
    pages = examples()
    script = "set -euo pipefail\n" + "\n".join(f"{example.shell}\necho; echo '{MARK.format(n)}'" for n, example in enumerate(pages))
    environment = {
        **os.environ,
        "PYTHON": sys.executable,
        "GATEWAY": whole_system.url,
        "ML_SERVICE": model_service.url,
        "ML_SERVICE_TOKEN": model_service.token,
    }

    result = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=ENGINE_SECONDS, check=False)

    rest, problems = result.stdout, []
    for number, example in enumerate(pages):
        output, found, rest = rest.partition(MARK.format(number))
        assert found, f"docs/API.md, line {example.line}: the example failed\n{output}\n{result.stderr}"
        if example.printed is not None:
            shape = same_shape(json.loads(example.printed), json.loads(output))
            problems += [f"docs/API.md, line {example.line}: {problem}" for problem in shape]
    assert problems == []
    assert len(pages) > 30
