"""All that is said to Redis about events.

An account has one key: `events:account:<id>` is a stream with its events of the last hour, for readers that come back, and a channel of
the same name on which they go to the gateways that have readers of it (docs/decisions/0008-events.md). One script does both at once, so
that the channel's order is the stream's, and a reader who has seen the stream up to an entry knows which messages are new.
"""

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple
from uuid import UUID

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.wire import utc_now
from shared.errors import Unavailable

KEPT_SECONDS = 3600
"""For how long an event can be replayed."""
KEPT_EVENTS = 2_000
"""How many of an account's are kept at most."""
ONCE_SECONDS = 24 * 3600
"""For how long an event that was published under a `once` key is not published again under the same."""
TOKEN_LISTENERS = "events:token-listeners"  # noqa: S105
"""The channel on which gateways name accounts that have readers of tokens at them."""
TOKEN = "response:token"  # noqa: S105

NAMED_EVERY_SECONDS = 5.0
"""How often a gateway names them; an account that was not named for three times as long has none any more."""
_FORGOTTEN_SECONDS = 3 * NAMED_EVERY_SECONDS

ANSWER_SECONDS = 2.0
"""Redis is away if it does not answer in so long."""

_encode = msgspec.json.Encoder().encode
_ACCOUNT = "events:account:"
_ONCE = "events:once:"

# ARGV[1]: what to publish, in order, as msgpack; see `Entry`. What goes to one channel goes as one message, a line an event.
_PUBLISH = f"""
local now = tonumber(redis.call('TIME')[1])
local lines, channels, grown = {{}}, {{}}, {{}}

local function say(channel, line)
    if not lines[channel] then
        lines[channel] = {{}}
        channels[#channels + 1] = channel
    end
    table.insert(lines[channel], line)
end

local function forget(stream, about)
    for _, entry in ipairs(redis.call('XRANGE', stream, '-', '+')) do
        if about == '' or entry[2][6] == about then
            redis.call('XDEL', stream, entry[1])
        end
    end
end

for _, entry in ipairs(cmsgpack.unpack(ARGV[1])) do
    local kind, account, event, body, about, once, once_seconds = unpack(entry)
    local stream = '{_ACCOUNT}' .. account
    if kind == 'forget' then
        forget(stream, about)
    elseif kind == 'token' then
        say(stream, '- ' .. event .. ' ' .. body)
    elseif redis.call('SET', '{_ONCE}' .. once, 1, 'NX', 'EX', once_seconds) then
        local id = redis.call('XADD', stream, '*', 't', event, 'b', body, 'a', about)
        grown[stream] = true
        say(stream, id .. ' ' .. event .. ' ' .. body)
    end
end
for stream in pairs(grown) do
    redis.call('XTRIM', stream, 'MINID', (now - {KEPT_SECONDS}) * 1000)
    redis.call('XTRIM', stream, 'MAXLEN', {KEPT_EVENTS})
    redis.call('EXPIRE', stream, {KEPT_SECONDS})
end
for _, channel in ipairs(channels) do
    redis.call('PUBLISH', channel, table.concat(lines[channel], '\\n'))
end
"""


class Position(NamedTuple):
    """Where an event is in its account's stream: a Redis stream id, which sorts by time."""

    milliseconds: int
    number: int

    def __str__(self) -> str:
        return f"{self.milliseconds}-{self.number}"


BEGINNING = Position(0, 0)
"""Before everything that is kept."""


@dataclass(frozen=True, slots=True)
class PublishedEvent:
    """An event as it lies in Redis. `body` is its envelope without the brace and the id. A token has no position: it is not kept."""

    position: Position | None
    type: str
    body: bytes

    def envelope(self, position: Position) -> bytes:
        """The JSON that a reader gets."""
        return b'{"id":"%d-%d",%b' % (*position, self.body)


class Entry(NamedTuple):
    """Something for the script above, whose order this is. An empty string says that there is none; Lua's msgpack knows no bytes.

    An event goes out if nothing did under its `once` key within `once_seconds`. `forget` takes back what was published `about` a
    conversation, or all of an account.
    """

    kind: Literal["event", "token", "forget"]
    account_id: UUID
    type: str = ""
    body: str = ""
    about: str = ""
    once: str = ""
    once_seconds: int = KEPT_SECONDS


def body_of(event_type: str, data: Any) -> bytes:
    """The body of an event of now: its position is known only when it is published."""
    return b'"type":"%b","at":%b,"data":%b}' % (event_type.encode(), _encode(utc_now()), _encode(data))


def channel_of(account_id: UUID) -> str:
    return f"{_ACCOUNT}{account_id}"


def account_of(channel: bytes) -> UUID:
    return UUID(channel.decode().removeprefix(_ACCOUNT))


def parse_position(text: str) -> Position | None:
    """A position as readers send it back, `<milliseconds>-<number>` or `<milliseconds>`; None for anything else."""
    milliseconds, dash, number = text.partition("-")
    if not _is_number(milliseconds) or (dash and not _is_number(number)):
        return None
    return Position(int(milliseconds), int(number or 0))


def parse_message(payload: bytes) -> Iterable[PublishedEvent]:
    """The events of a channel's message, in their order."""
    for line in payload.split(b"\n"):
        position, event_type, body = line.split(b" ", 2)
        yield PublishedEvent(None if position == b"-" else _position(position), event_type.decode(), body)


class Journal:
    """The accounts' events in Redis. Raises `Unavailable` where Redis is away."""

    def __init__(self, redis: "Redis") -> None:
        """`redis` should have no timeout of its own: redis-py makes a task for each command that has one, which costs as much again."""
        self._redis = redis
        self._publish = redis.register_script(_PUBLISH)
        self._listeners: dict[UUID, float] = {}
        """Until when accounts have a reader, at any gateway, that asked for the tokens of drafts; for others no token is published."""

    async def publish(self, entries: Sequence[Entry]) -> None:
        """Store and send out, all at once. The same entries again change nothing.

        Raises:
            RedisError, TimeoutError: as it came, because who calls this tries again or not by what it is.
        """
        async with asyncio.timeout(ANSWER_SECONDS):
            await self._publish(args=[msgspec.msgpack.encode(entries)])

    async def after(self, account_id: UUID, position: Position, count: int) -> list[PublishedEvent]:
        """Up to `count` events that came after a position, oldest first."""
        entries = await _answered(self._redis.xrange(channel_of(account_id), f"({position}", "+", count))
        return [PublishedEvent(_position(entry_id), fields[b"t"].decode(), fields[b"b"]) for entry_id, fields in entries]

    async def newest(self, account_id: UUID) -> Position:
        entries = await _answered(self._redis.xrevrange(channel_of(account_id), "+", "-", 1))
        return _position(entries[0][0]) if entries else BEGINNING

    async def has(self, account_id: UUID, position: Position) -> bool:
        """Whether this event is still kept, and with it all that came after it."""
        return bool(await _answered(self._redis.xrange(channel_of(account_id), str(position), str(position), 1)))

    async def name_token_listeners(self, account_ids: Iterable[UUID]) -> None:
        """Tell all gateways, this one too, that these accounts have readers of tokens."""
        await _answered(self._redis.publish(TOKEN_LISTENERS, " ".join(map(str, account_ids))))

    def hear_token_listeners(self, message: bytes) -> None:
        """A gateway has named accounts."""
        now = time.monotonic()
        self._listeners = {account_id: until for account_id, until in self._listeners.items() if until > now}
        for account_id in message.decode().split():
            self._listeners[UUID(account_id)] = now + _FORGOTTEN_SECONDS

    def tokens_wanted(self, account_id: UUID) -> bool:
        """Whether anybody listens for the tokens of this account's drafts."""
        return self._listeners.get(account_id, 0.0) > time.monotonic()


async def _answered(command: Any) -> Any:
    """Redis's answer; a command is awaitable, though its type does not say so."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await command
    except (RedisError, OSError, TimeoutError) as error:
        raise Unavailable("Live events are away; try again in a moment") from error


def _position(text: bytes) -> Position:
    milliseconds, _, number = text.partition(b"-")
    return Position(int(milliseconds), int(number))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 15
