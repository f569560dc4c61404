"""Single flight: requests for the same answer at the same time share one generation.

A flight hands its deltas to all who joined, whether they stream or wait; who joins late gets first what was already there. When the
last one leaves before the end, the generation is aborted.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from types import TracebackType

import structlog

from ml_service.engine.protocol import Delta, GenerationFailed
from shared.errors import AppError

Start = Callable[[], AsyncGenerator[Delta, None]]
Land = Callable[[list[Delta]], Awaitable[None]]

log = structlog.get_logger(__name__)


class Flights:
    """The generations in the air, by cache key."""

    def __init__(self) -> None:
        self._flights: dict[str, Flight] = {}

    def join(self, key: str, start: Start, land: Land, *, alone: bool = False) -> "Seat":
        """Take a seat on the flight for a key; the first one starts it.

        Args:
            key: what names the answer.
            start: begins the generation.
            land: called with all deltas once the generation has completed, before those who joined are told.
            alone: do not share: neither join another's flight nor let others join.
        """
        flight = None if alone else self._flights.get(key)
        if flight is None:
            flight = Flight(start, land, lambda: self._forget(key, flight))
            if not alone:
                self._flights[key] = flight
        return Seat(flight)

    def _forget(self, key: str, flight: "Flight | None") -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]


class Flight:
    """One generation and those who wait for it."""

    def __init__(self, start: Start, land: Land, on_end: Callable[[], None]) -> None:
        self._deltas: list[Delta] = []
        self._error: AppError | None = None
        self._start = start
        self._land = land
        self._on_end = on_end
        self._seats: set[Seat] = set()
        self._listeners: set[asyncio.Event] = set()
        self._end = asyncio.Event()
        self._task = asyncio.create_task(self._fly())

    def enter(self, seat: "Seat") -> None:
        self._seats.add(seat)

    def leave(self, seat: "Seat") -> None:
        self._seats.discard(seat)
        if not self._seats and not self._end.is_set():
            self._on_end()  # nobody may join a generation that is being aborted
            self._task.cancel()

    async def listen(self) -> AsyncIterator[Delta]:
        """All deltas from the first, as they come; then raises what the generation raised."""
        news = asyncio.Event()
        self._listeners.add(news)
        position = 0
        try:
            while True:
                while position < len(self._deltas):
                    yield self._deltas[position]
                    position += 1
                if self._end.is_set():
                    break
                news.clear()
                await news.wait()
        finally:
            self._listeners.discard(news)
        self._raise_error()

    async def landed(self) -> list[Delta]:
        """Every delta, once the generation has completed; raises what it raised."""
        await self._end.wait()
        self._raise_error()
        return self._deltas

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    async def _fly(self) -> None:
        try:
            async with aclosing(self._start()) as deltas:
                async for delta in deltas:
                    self._deltas.append(delta)
                    for news in self._listeners:
                        news.set()
            await self._land(self._deltas)
        except AppError as error:
            self._error = error
        except Exception as error:
            log.exception("generation ended in an unexpected error")
            self._error = GenerationFailed("The generation failed")
            self._error.__cause__ = error
        finally:
            self._end.set()
            self._on_end()
            for news in self._listeners:
                news.set()


class Seat:
    """One consumer's place on a flight: a context that enters and leaves it."""

    def __init__(self, flight: Flight) -> None:
        self._flight = flight
        flight.enter(self)

    def __enter__(self) -> Flight:
        return self._flight

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._flight.leave(self)
