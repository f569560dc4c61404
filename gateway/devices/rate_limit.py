"""How often devices may register and pairing codes may be tried: an exact sliding window over all gateway processes, kept in Redis."""

import ipaddress
import math
from dataclasses import dataclass
from uuid import UUID

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.errors import TooManyRequests, Unavailable
from shared.ids import new_id

WINDOW_SECONDS = 15 * 60
DEVICE_ATTEMPTS = 5
ADDRESS_FAILURES = 50

_logger = structlog.get_logger(__name__)

# One script, so that no two processes can both take the last attempt; Redis's clock, so that theirs need not agree.
# A sorted set a key holds one member an attempt, scored by its time in milliseconds; it never outgrows its limit and goes with its window.
# Returns {how many the first key has with this one, 0}, or {0, milliseconds until one is free}.
_ADMIT = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local window = tonumber(ARGV[1])
local wait = 0
for i, key in ipairs(KEYS) do
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now - window)
    if redis.call('ZCARD', key) >= tonumber(ARGV[2 + i]) then
        wait = math.max(wait, redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2] + window - now)
    end
end
if wait > 0 then
    return {0, wait}
end
for _, key in ipairs(KEYS) do
    redis.call('ZADD', key, now, ARGV[2])
    redis.call('PEXPIRE', key, window)
end
return {redis.call('ZCARD', KEYS[1]), 0}
"""


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that may be evaluated; `number` counts the device's in the window, from 1."""

    number: int
    member: str
    address_key: str

    @property
    def is_last(self) -> bool:
        return self.number >= DEVICE_ATTEMPTS


class PairingRateLimit:
    """5 attempts a device and 50 wrong ones a client address in any 15 minutes; a device that does not exist is limited alike. And so many
    registrations a client address.
    """

    def __init__(self, redis: "Redis", registrations: int) -> None:
        self._registrations = registrations
        self._admit = redis.register_script(_ADMIT)
        self._redis = redis

    async def admit(self, device_id: UUID, client_address: str) -> Attempt:
        """Count an attempt before it is evaluated, as a wrong one until `forgive` says otherwise.

        Raises:
            TooManyRequests: the window is full; says when it no longer is.
            Unavailable: Redis is away. Codes are not evaluated uncounted.
        """
        member = str(new_id())
        address_key = f"{{pairing}}:address:{_network(client_address)}"
        number = await self._count(
            "pairing attempts", member, {f"{{pairing}}:device:{device_id}": DEVICE_ATTEMPTS, address_key: ADDRESS_FAILURES}
        )
        return Attempt(number=number, member=member, address_key=address_key)

    async def admit_registration(self, client_address: str) -> None:
        """Count a registration.

        Raises:
            TooManyRequests: the address has sent as many as it may; says when it may again.
            Unavailable: Redis is away. What was registered could not be verified either.
        """
        key = f"{{pairing}}:registrations:{_network(client_address)}"
        await self._count("registrations from this address", str(new_id()), {key: self._registrations})

    async def _count(self, what: str, member: str, limits: dict[str, int]) -> int:
        """Note one under each key, if none has as many as it may; how many the first has then."""
        try:
            number, wait = await self._admit(keys=list(limits), args=[WINDOW_SECONDS * 1000, member, *limits.values()])
        except (RedisError, OSError, TimeoutError) as error:
            raise Unavailable("Devices cannot be registered or verified now; try again in a moment") from error
        if not number:
            seconds = math.ceil(wait / 1000)
            raise TooManyRequests(f"Too many {what}; try again in {seconds} seconds", retry_after=seconds)
        return int(number)

    async def forgive(self, attempt: Attempt) -> None:
        """The code was right: the attempt does not count against the address (it still does against the device)."""
        try:
            await self._redis.zrem(attempt.address_key, attempt.member)
        except (RedisError, OSError, TimeoutError):
            _logger.warning("a right pairing code stays counted against its address, because Redis is away")


def _network(client_address: str) -> str:
    """What is limited: an IPv4 address, or an IPv6 /64, which is what one customer gets (RFC 6177)."""
    try:
        address = ipaddress.ip_address(client_address)
    except ValueError:
        return client_address
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
