"""All that is said to Redis about events.

An account has one key: `events:account:<id>` is a stream with its events of the last hour, for readers that come back, and a channel of
the same name on which they go to the gateways that have readers of it (docs/decisions/0008-events.md). One script does both at once, so
that the channel's order is the stream's, and a reader who has seen the stream up to an entry knows which messages are new.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.errors import Unavailable
from gateway.wire import utc_now

KEPT_SECONDS = 3600
"""For how long an event can be replayed."""
KEPT_EVENTS = 2_000
"""How many of an account's are kept at most."""
ONCE_SECONDS = 24 * 3600
"""For how long an event that was published under a `once` key is not published again under the same."""
CONTROL = "events:control"
"""The channel on which gateways talk to each other."""
TOKEN = "response:token"  # noqa: S105
ACCOUNT_DELETED = "account:deleted"
"""Not for readers: it closes their streams."""

ANSWER_SECONDS = 2.0
"""Redis is away if it does not answer in so long."""

_encode = msgspec.json.Encoder().encode
_ACCOUNT = "events:account:"
_ONCE = "events:once:"

# ARGV[1]: what to publish, in order, as msgpack: {kind, account, type, body, nonce, once, about}.
# ARGV[2]: 1 when it may be the second time, because the first answer was lost.
# What goes to one channel goes as one message, a line an event: readers' gateways take hundreds at the price of one.
# Returns 1 for each that was published, 0 for those that were before.
_PUBLISH = f"""
local retried = ARGV[2] == '1'
local now = tonumber(redis.call('TIME')[1])
local lines, channels, grown, done = {{}}, {{}}, {{}}, {{}}

local function say(channel, line)
    if not lines[channel] then
        lines[channel] = {{}}
        channels[#channels + 1] = channel
    end
    table.insert(lines[channel], line)
end

local function is_there(stream, nonce)
    for _, entry in ipairs(redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 256)) do
        if entry[2][6] == nonce then
            return true
        end
    end
    return false
end

local function forget(stream, about)
    for _, entry in ipairs(redis.call('XRANGE', stream, '-', '+')) do
        if entry[2][8] == about then
            redis.call('XDEL', stream, entry[1])
        end
    end
end

for number, entry in ipairs(cmsgpack.unpack(ARGV[1])) do
    local kind, account, event, body, nonce, once, about = unpack(entry)
    local stream = '{_ACCOUNT}' .. account
    done[number] = 1
    if kind == 'token' then
        say(stream, '- ' .. event .. ' ' .. body)
    elseif kind == 'forget' and about ~= '' then
        forget(stream, about)
    elseif kind == 'forget' then
        redis.call('DEL', stream)
        say(stream, '- ' .. event .. ' ')
    elseif once ~= '' and not redis.call('SET', '{_ONCE}' .. once, 1, 'NX', 'EX', {ONCE_SECONDS}) then
        done[number] = 0
    elseif not (retried and is_there(stream, nonce)) then
        local id = redis.call('XADD', stream, '*', 't', event, 'b', body, 'n', nonce, 'a', about)
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
return done
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
    """Something for the script above, whose order this is. An empty string says that there is none; Lua's msgpack knows no bytes."""

    kind: str
    account_id: UUID
    type: str = ""
    body: str = ""
    nonce: str = ""
    once: str = ""
    about: str = ""


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

    async def publish(self, entries: Sequence[Entry], *, retried: bool) -> list[bool]:
        """Store and send out, all at once. `retried`: leave out what is found to be there already.

        Returns:
            For each whether it was published: False if something was before under its `once` key.

        Raises:
            RedisError, TimeoutError: as it came, because who calls this tries again or not by what it is.
        """
        async with asyncio.timeout(ANSWER_SECONDS):
            done = await self._publish(args=[msgspec.msgpack.encode(entries), int(retried)])
        return [bool(each) for each in done]

    async def after(self, account_id: UUID, position: Position, count: int) -> list[PublishedEvent]:
        """Up to `count` events that came after a position, oldest first."""
        entries = await self._ask("XRANGE", channel_of(account_id), f"({position}", "+", "COUNT", count)
        return [_stored(entry) for entry in entries]

    async def newest(self, account_id: UUID) -> Position:
        """The position of the last event."""
        entries = await self._ask("XREVRANGE", channel_of(account_id), "+", "-", "COUNT", 1)
        return _position(entries[0][0]) if entries else BEGINNING

    async def has(self, account_id: UUID, position: Position) -> bool:
        """Whether this event is still kept, and with it all that came after it."""
        return bool(await self._ask("XRANGE", channel_of(account_id), str(position), str(position), "COUNT", 1))

    async def tell_gateways(self, message: bytes) -> None:
        """Say something to all gateways, this one too."""
        await self._ask("PUBLISH", CONTROL, message)

    async def _ask(self, *command: Any) -> Any:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._redis.execute_command(*command)
        except (RedisError, OSError, TimeoutError) as error:
            raise Unavailable("Live events are away; try again in a moment") from error


def _stored(entry: Any) -> PublishedEvent:
    position, fields = entry
    values = fields if isinstance(fields, dict) else dict(zip(fields[::2], fields[1::2], strict=True))
    return PublishedEvent(_position(position), values[b"t"].decode(), values[b"b"])


def _position(text: bytes) -> Position:
    milliseconds, _, number = text.partition(b"-")
    return Position(int(milliseconds), int(number))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 15
