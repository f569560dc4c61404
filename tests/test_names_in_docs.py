"""What the documentation and the docstrings name is there: files, modules, metrics, settings, make targets, decisions."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec
import pytest

from deploy.local.settings import LocalSettings
from gateway.settings import Settings as GatewaySettings
from ml_service.settings import Settings as MlServiceSettings
from shared.settings import describe

ROOT = Path(__file__).parents[1]
PACKAGES = ("gateway", "ml_service", "shared", "deploy", "tests")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "clients").rglob("*.md")])
MADE_WHILE_IT_RUNS = (".data/", ".benchmarks/", ".venv", ".coverage/", ".screenshots/")

CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s#]+)[^)\s]*\)")
FILE = re.compile(r"[\w./-]+\.(?:py|md|toml|txt|sh|html|yaml)\b")
DOTTED = re.compile(rf"\b(?:{'|'.join(PACKAGES)})(?:\.\w+)+")
METRIC = re.compile(r"\b(?:gateway|ml|background)_[a-z_]+\b")
SETTING = re.compile(r"(?:[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)(?==|$)|[A-Z][A-Z0-9]+(?==)")
MAKE = re.compile(r"\bmake ([a-z][a-z-]+)")
TEST = re.compile(r"(tests/[\w/]+\.py)::(\w+)")
DECISION = re.compile(r"\bdecisions?[ /](\d{4})\b")


@dataclass(frozen=True)
class Named:
    """A name, and where it stands."""

    file: Path
    line: int
    name: str

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line}: {self.name}"


def lines_of(page: Path) -> Iterator[tuple[int, str]]:
    yield from enumerate(page.read_text().splitlines(), start=1)


def code_in(page: Path, *, blocks: bool = True) -> Iterator[Named]:
    """What stands in backticks, and the lines of blocks of shell."""
    language = None
    for number, line in lines_of(page):
        if line.startswith("```"):
            language = None if language is not None else line.removeprefix("```")
        elif language is None:
            yield from (Named(page, number, code) for code in CODE.findall(line))
        elif blocks and language in ("sh", "bash"):
            yield Named(page, number, line)


@cache
def sources() -> dict[Path, str]:
    return {path: path.read_text() for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))}


@cache
def docstrings() -> list[Named]:
    """Every docstring, those of attributes among them, a line each."""
    found = []
    for path, text in sources().items():
        for node in ast.walk(ast.parse(text)):
            match node:
                case ast.Expr(value=ast.Constant(value=str() as words)):
                    found += [Named(path, node.lineno + number, line) for number, line in enumerate(words.splitlines())]
    return found


@cache
def all_paths() -> frozenset[str]:
    """All files and folders of the project, from its root and by every shorter end of their path."""
    ends: set[str] = set()
    for path in (*ROOT.glob("*"), *(path for folder in (*PACKAGES, "clients", "docs", ".ci") for path in (ROOT / folder).rglob("*"))):
        parts = path.relative_to(ROOT).parts
        ends.update("/".join(parts[start:]) for start in range(len(parts)))
    return frozenset(ends)


def is_there(name: str, page: Path) -> bool:
    """Whether a file or folder is there, seen from the root, from the page, or by the end of its path."""
    name = name.removeprefix("./").rstrip("/")
    return (ROOT / name).exists() or (page.parent / name).exists() or name in all_paths()


def module_of(dotted: str) -> tuple[Path | None, list[str]]:
    """The file of the longest module that a name begins with, and what is left of the name."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        place = ROOT.joinpath(*parts[:length])
        for path in (place.with_suffix(".py"), place / "__init__.py"):
            if path.exists():
                return path, parts[length:]
        if place.is_dir():
            return None, parts[length:]
    return None, parts


def defines(path: Path, names: list[str]) -> bool:
    """Whether a module has a name, and the class of that name the next one."""
    body: list[ast.stmt] = ast.parse(sources()[path]).body
    for name in names:
        for node in body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
                body = node.body
                break
            if any(name in (getattr(part, "id", None), getattr(part, "name", None)) for part in ast.walk(node)):
                return True
        else:
            return False
    return True


def exists(dotted: str) -> bool:
    path, rest = module_of(dotted)
    return not rest if path is None else defines(path, rest)


def none_of(missing: list[Named], what: str) -> None:
    if missing:
        pytest.fail(f"No such {what}:\n" + "\n".join(sorted(map(str, missing))), pytrace=False)


def test_files_and_folders() -> None:
    missing = [
        Named(page, named.line, name)
        for page in PAGES
        for named in code_in(page)
        for name in ([named.name] if named.name.endswith("/") and named.name.startswith(PACKAGES) else FILE.findall(named.name))
        if not name.startswith(("/", *MADE_WHILE_IT_RUNS)) and not is_there(name, page)
    ]
    none_of(missing, "file or folder")


def test_links_between_pages() -> None:
    missing = []
    for page in PAGES:
        for number, line in lines_of(page):
            missing += [Named(page, number, link) for link in LINK.findall(line) if "://" not in link and not (page.parent / link).exists()]
    none_of(missing, "page")


def test_files_that_code_names() -> None:
    """In comments too: `docs/…`, and files of the packages by their whole path."""
    whole = re.compile(rf"\b(?:docs|{'|'.join(PACKAGES)})/[\w/-]+\.(?:md|py|toml|json)\b")
    missing = []
    for path in sources():
        for number, line in lines_of(path):
            missing += [Named(path, number, name) for name in whole.findall(line) if not (ROOT / name).exists()]
    none_of(missing, "file")


def test_modules_and_what_is_in_them() -> None:
    places = [named for page in PAGES for named in code_in(page)]
    places += [Named(each.file, each.line, code) for each in docstrings() for code in CODE.findall(each.name)]
    missing = [
        Named(place.file, place.line, name)
        for place in places
        for name in DOTTED.findall(place.name)
        if not name.endswith((".py", ".log", ".txt", ".Dockerfile")) and not exists(name)
    ]
    none_of(missing, "module, or name in a module")


def test_metrics() -> None:
    texts = "\n".join(sources().values())
    declared = set(re.findall(r'"((?:gateway|ml|background)_[a-z_]+)"', texts))
    declared |= {f"{name}{end}" for name in declared for end in ("_total", "_count", "_sum", "_bucket")}
    missing = [
        Named(page, named.line, name)
        for page in PAGES
        for named in code_in(page)
        for name in METRIC.findall(named.name)
        if name not in declared and not re.search(rf"\b{name}\b", texts)
    ]
    none_of(missing, "metric")


def test_settings() -> None:
    settings: list[type[msgspec.Struct]] = [GatewaySettings, MlServiceSettings, LocalSettings]
    known = {setting.variable for each in settings for setting in describe(each)}
    elsewhere = (ROOT / "Makefile", ROOT / "compose.yaml", *(ROOT / "deploy").glob("*.sh"), *(ROOT / "deploy").rglob("*.Dockerfile"))
    others = "\n".join([*sources().values(), *(path.read_text() for path in elsewhere)])
    missing = [
        Named(page, named.line, name)
        for page in PAGES
        for named in code_in(page, blocks=False)
        for name in SETTING.findall(named.name)
        if name not in known and not re.search(rf"\b{name}\b", others)
    ]
    none_of(missing, "setting")


def test_make_targets() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    missing = [
        Named(named.file, named.line, f"make {target}")
        for named in [*(each for page in PAGES for each in code_in(page)), *docstrings()]
        for target in MAKE.findall(named.name)
        if target not in targets and (named.name.startswith("make ") or f"`make {target}" in named.name)
    ]
    none_of(missing, "make target")


def test_decisions() -> None:
    numbers = {path.name[:4] for path in (ROOT / "docs" / "decisions").glob("[0-9]*.md")}
    missing = [
        Named(path, number, name)
        for path in [*PAGES, *sources()]
        for number, line in lines_of(path)
        for name in DECISION.findall(line)
        if name not in numbers
    ]
    none_of(missing, "decision")


@pytest.mark.parametrize("name", ["gateway.settings.Settings.port", "shared.errors.NotFound", "tests.fixtures", "deploy.local"])
def test_what_is_there_is_found(name: str) -> None:
    assert exists(name)


@pytest.mark.parametrize("name", ["gateway.nowhere", "gateway.settings.Setting", "gateway.settings.Settings.no_port", "shared.errors.a.b"])
def test_what_is_not_there_is_not(name: str) -> None:
    assert not exists(name)


def test_every_test_that_a_page_names_is_there() -> None:
    missing = [
        f"{page.relative_to(ROOT)}:{number}: {file}::{name}"
        for page in PAGES
        for number, line in lines_of(page)
        for file, name in TEST.findall(line)
        if not re.search(rf"def {name}\(", (ROOT / file).read_text() if (ROOT / file).exists() else "")
    ]
    assert missing == []
