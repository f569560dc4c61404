"""One connection to the database, for commands that have nothing else to do while it answers."""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Concatenate, ParamSpec, TypeVar

import asyncpg

from gateway.backup.errors import BackupError
from gateway.backup.queries import Db

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Session:
    """Runs queries one after the other. Between them Ctrl-C is Python's own, and ends a dump at once."""

    def __init__(self, url: str) -> None:
        """
        Raises:
            BackupError: nobody answers, or it does not let us in.
        """
        self._runner = asyncio.Runner()
        try:
            self._connection: Db = self._runner.run(_connect(url))
        except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            self._runner.close()
            raise BackupError(
                f"PostgreSQL does not let us in at DATABASE_URL ({type(error).__name__}): is it running, and the URL right?"
            ) from error

    def run(
        self,
        query: Callable[Concatenate[Db, Arguments], Awaitable[Result]],
        *arguments: Arguments.args,
        **named: Arguments.kwargs,
    ) -> Result:
        """What a query answers.

        Raises:
            BackupError: it failed; without what PostgreSQL says, which may quote the data.
        """

        async def ask() -> Result:
            return await query(self._connection, *arguments, **named)

        try:
            return self._runner.run(ask())
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise BackupError(
                f"PostgreSQL refused a statement or went away ({type(error).__name__}): look into its log, and run it again"
            ) from error

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self._runner.run(_close(self._connection))
        self._runner.close()


async def _connect(url: str) -> Db:
    return await asyncpg.connect(url)


async def _close(connection: Db) -> None:
    try:
        await connection.close(timeout=5)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):  # it has ended already
        connection.terminate()
