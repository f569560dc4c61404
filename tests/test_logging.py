"""What of an exception gets into a log: its kind and where it was raised, never what it says."""

import asyncio
import io
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import asyncpg
import msgspec
import pytest
import structlog
from pydantic import TypeAdapter, ValidationError

from shared.errors import NotFound
from shared.logging import LogFormat, configure_logging
from tests.fixtures.database import rows

MARKER = "marzipan-giraffe"


@dataclass
class Log:
    """What was written, and in which form."""

    form: LogFormat
    lines: io.StringIO

    @property
    def text(self) -> str:
        return self.lines.getvalue()


@pytest.fixture(params=["json", "console"])
def log(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    """Logs as a service writes them; afterwards they are as pytest wants them."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    written = Log(request.param, io.StringIO())
    monkeypatch.setattr("sys.stderr", written.lines)
    configure_logging("test", request.param, "info")
    try:
        yield written
    finally:
        root.handlers, root.level = handlers, level
        structlog.reset_defaults()


def duplicate_key(database_url: str) -> None:
    statement = """
        do $$ begin
            create temporary table kept (word text unique) on commit drop;
            insert into kept values ('marzipan-giraffe'), ('marzipan-giraffe');
        end $$
    """
    rows(database_url, statement)


def not_a_number(database_url: str) -> None:
    rows(database_url, f"select '{MARKER}'::int")


def wrong_argument(database_url: str) -> None:
    rows(database_url, "select $1::int", MARKER)


def no_such_word(_: str) -> None:
    class Body(msgspec.Struct, tag=MARKER):
        """Its tag is a word that the error repeats."""

    msgspec.json.decode(f'{{"type": "{MARKER}-2"}}', type=Body)


def no_number(_: str) -> None:
    TypeAdapter(int).validate_python(MARKER)


def caused(database_url: str) -> None:
    try:
        not_a_number(database_url)
    except asyncpg.PostgresError as error:
        error.add_note(MARKER)
        raise ExceptionGroup(MARKER, [RuntimeError(MARKER), ValueError(MARKER)]) from error


FAILURES: dict[str, Callable[[str], None]] = {
    "asyncpg.exceptions.UniqueViolationError": duplicate_key,
    "asyncpg.exceptions.InvalidTextRepresentationError": not_a_number,
    "asyncpg.exceptions.DataError": wrong_argument,
    "msgspec.ValidationError": no_such_word,
    "pydantic_core._pydantic_core.ValidationError": no_number,
    "RuntimeError": caused,
}


@pytest.mark.parametrize("kind", FAILURES)
def test_an_exception_is_logged_with_its_kind_and_place_and_without_what_it_says(log: Log, database_url: str, kind: str) -> None:
    cause = FAILURES[kind]

    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, msgspec.ValidationError, ValidationError, ExceptionGroup)) as raised:
        cause(database_url)
    structlog.get_logger().error("request failed", exc_info=raised.value)
    logging.getLogger("library").error("it failed: %s", raised.value, exc_info=raised.value)

    assert log.text.count(kind) >= 2
    assert f"in {cause.__name__}" in log.text
    assert MARKER not in log.text
    if log.form == "json":
        assert [json.loads(line)["level"] for line in log.text.splitlines()] == ["error", "error"]


def test_what_led_to_an_exception_comes_first(log: Log, database_url: str) -> None:
    with pytest.raises(ExceptionGroup) as raised:
        caused(database_url)

    structlog.get_logger().error("request failed", exc_info=raised.value)

    order = ["InvalidTextRepresentationError", "which led to:", "ExceptionGroup", "with:", "RuntimeError", "with:", "ValueError"]
    places = [log.text.index(word) for word in order if word != "with:"]
    assert places == sorted(places)
    assert log.text.count("with:") == 2


def test_a_task_that_nobody_waited_for_is_told_of_without_what_it_said(log: Log) -> None:
    async def forgotten() -> None:
        asyncio.get_running_loop().call_exception_handler(
            {"message": "Task exception was never retrieved", "exception": RuntimeError(MARKER), "future": f"<Task {MARKER}>"}
        )

    asyncio.run(forgotten())

    assert "Task exception was never retrieved" in log.text
    assert "RuntimeError" in log.text
    assert MARKER not in log.text


@pytest.mark.parametrize("error", [NotFound("There is no such thread"), FileNotFoundError(2, "No such file", "/srv/models")])
def test_what_quotes_nobody_is_said(log: Log, error: Exception) -> None:
    structlog.get_logger().error("it failed", exc_info=error)

    assert str(error) in log.text
