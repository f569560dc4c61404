"""No regular expression takes long for any text: each one of the project is tried on texts that are made to lead it astray.

A pattern that can read a text in several ways may try them all before it says no: the square of the text's length, or far more.
"""

import ast
import importlib
import pkgutil
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import msgspec
import pytest

import deploy
import gateway
import ml_service
import shared

ROOT = Path(gateway.__path__[0]).parent
LENGTH = 20_000
"""Characters, as the longest texts have that anybody sends to be read by a pattern."""
SECONDS = 0.1
"""Of processor time. A pattern that reads a text once needs a tenth of it at most."""
PIECES = (
    "a",
    "A",
    "1",
    " ",
    "\t\n",
    "(",
    "-",
    ".",
    "`",
    "_",
    "www.a",
    "@a.",
    "a@",
    "a@a.",
    "https://a ",
    "DE00 0000 ",
    "1 1-",
    "layers.0.",
    "A1",
    "é",
)
ENDS = ("", "\0", "\n!", "@", " x", "`")

# Importing these starts a service or asks a database; importing the others takes a minute and gigabytes, where they are installed at all.
# Their sources show their patterns.
STARTS = re.compile(r"\.(main|__main__|piccolo_conf)$|^ml_service\.training\.")
HEAVY = re.compile(r"^(?:import|from) (?:torch|vllm|trl|peft|datasets|transformers|accelerate)\b", re.MULTILINE)
PATTERN_CALL = frozenset({"compile", "match", "search", "fullmatch", "sub", "subn", "split", "findall", "finditer"})


def module_files() -> Iterator[tuple[str, Path]]:
    for package in (gateway, ml_service, shared, deploy):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if ".migrations" not in found.name and not found.ispkg:
                yield found.name, ROOT.joinpath(*found.name.split(".")).with_suffix(".py")


def modules() -> Iterator[ModuleType]:
    for name, file in module_files():
        if not STARTS.search(name) and not HEAVY.search(file.read_text()):
            yield importlib.import_module(name)


def literal_patterns(file: Path) -> Iterator[str | bytes]:
    """What is given to `re` in a module's source, wherever it stands there."""
    for node in ast.walk(ast.parse(file.read_text())):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name("re"), attr=attribute), args=[ast.Constant(str() | bytes() as text), *_]):
                if attribute in PATTERN_CALL:
                    yield text


def compiled_patterns(value: object, depth: int = 3) -> Iterator["re.Pattern[Any]"]:
    """Patterns in a module's variable, or in what it holds."""
    if isinstance(value, re.Pattern):
        yield value
    elif depth and isinstance(value, tuple | list | set | frozenset):
        for item in value:
            yield from compiled_patterns(item, depth - 1)
    elif depth and isinstance(value, dict):
        yield from compiled_patterns([*value, *value.values()], depth - 1)
    elif depth and isinstance(value, type):
        yield from compiled_patterns(list(vars(value).values()), depth - 1)


def declared_patterns(annotation: object) -> Iterator[str]:
    """`pattern=` of a type: msgspec's, the framework's parameters', pydantic's."""
    for metadata in getattr(annotation, "__metadata__", ()):
        for each in (metadata, *getattr(metadata, "metadata", ())):
            pattern = getattr(each, "pattern", None)
            if isinstance(pattern, str):
                yield pattern
    for argument in get_args(annotation):
        yield from declared_patterns(argument)


def all_patterns() -> dict[str, "re.Pattern[Any]"]:
    found: dict[str, re.Pattern[Any]] = {}

    def note(where: str, pattern: "re.Pattern[Any] | str | bytes") -> None:
        compiled = re.compile(pattern)
        found.setdefault(f"{compiled.pattern!r} {compiled.flags}", compiled)
        places.setdefault(f"{compiled.pattern!r} {compiled.flags}", where)

    places: dict[str, str] = {}
    for name, file in module_files():
        for literal in literal_patterns(file):
            note(name, literal)
    for module in modules():
        for name, value in vars(module).items():
            where = f"{module.__name__}.{name}"
            for compiled in compiled_patterns(value):
                note(where, compiled)
            for declared in declared_patterns(value):
                note(where, declared)
            if isinstance(value, type) and value.__module__ == module.__name__:
                for field, annotation in fields_of(value):
                    for declared in declared_patterns(annotation):
                        note(f"{where}.{field}", declared)
    return {f"{places[key]}: {compiled.pattern!r}": compiled for key, compiled in found.items()}


def fields_of(kind: type) -> Iterator[tuple[str, object]]:
    if issubclass(kind, msgspec.Struct):
        yield from ((field.name, field.type) for field in msgspec.structs.fields(kind))
    else:
        yield from getattr(kind, "__annotations__", {}).items()


PATTERNS = all_patterns()
TEXTS = [(piece * LENGTH)[: LENGTH - len(end)] + end for piece in PIECES for end in ENDS]


@pytest.mark.parametrize("name", PATTERNS, ids=[name.partition(":")[0] for name in PATTERNS])
def test_no_text_takes_long(name: str) -> None:
    pattern = PATTERNS[name]

    slow = [f"{use} {text[:20]!r}…{text[-2:]!r}: {seconds:.1f} s" for use, text, seconds in timings(pattern) if seconds > SECONDS]

    assert slow == []


def timings(pattern: "re.Pattern[Any]") -> Iterator[tuple[str, str, float]]:
    for text in TEXTS:
        given: Any = text.encode() if isinstance(pattern.pattern, bytes) else text
        uses: dict[str, Callable[[Any], object]] = {
            "match": pattern.match,
            "search": pattern.search,
            "fullmatch": pattern.fullmatch,
            "sub": lambda it: pattern.sub(it[:0], it),
        }
        for use, run in uses.items():
            begin = time.process_time()
            run(given)
            yield use, text, time.process_time() - begin


def test_a_pattern_that_takes_the_square_of_the_length_is_noticed() -> None:
    assert any(seconds > SECONDS for _, _, seconds in timings(re.compile(r"^[^\x00]*[^\x00\s][^\x00]*$")))


def test_the_patterns_of_every_kind_are_found() -> None:
    """One of each: in a module, in a function, in a body, in a parameter of either framework."""
    kinds = {r"[^A-Za-z0-9_.\-]", r"^[0-9]{6}$", r"^[0-9]{1,15}(-[0-9]{1,15})?$", r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$"}

    assert kinds <= {pattern.pattern for pattern in PATTERNS.values()}


def test_what_is_not_imported_has_no_pattern_that_its_source_does_not_show() -> None:
    unseen = [(name, file) for name, file in module_files() if STARTS.search(name) or HEAVY.search(file.read_text())]

    with_patterns = [name for name, file in unseen if re.search(r"\bre\.|pattern=", file.read_text()) and not [*literal_patterns(file)]]

    assert with_patterns == []
