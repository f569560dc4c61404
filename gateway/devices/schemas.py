"""Public bodies of the device endpoints."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta

from gateway.wire import NO_NUL, Name, Wire

Platform = Literal["macos", "ios", "ipados", "watchos", "windows", "linux", "android", "web"]
DeviceStatus = Literal["pending", "active", "deactivated"]
OsVersion = Annotated[str, Meta(min_length=1, max_length=100, pattern=NO_NUL)]


class DeviceRegistration(Wire, frozen=True, kw_only=True):
    """What a device says of itself. `hardwareId` is the client's own; it is unique within the account."""

    name: Name
    hardware_id: Name
    platform: Platform
    os_version: OsVersion


class Pairing(Wire, frozen=True, kw_only=True):
    """What to type into the device that is to be paired; the code works once, until `expiresAt`."""

    device_id: UUID
    code: Annotated[str, Meta(description="Six digits.")]
    expires_at: datetime


class Verification(Wire, frozen=True, kw_only=True):
    device_id: UUID
    code: Annotated[str, Meta(pattern=r"^[0-9]{6}$", description="Six digits, as `register` or `gateway pair` gave them.")]


class Tokens(Wire, frozen=True, kw_only=True):
    """`token` goes into `Authorization: Bearer …` for 7 days; `refreshToken` buys the next pair, once, within 90 days."""

    token: str
    expires_at: datetime
    refresh_token: str
    refresh_expires_at: datetime


class Refresh(Wire, frozen=True, kw_only=True):
    refresh_token: Annotated[str, Meta(min_length=1, max_length=200)]


class Device(Wire, frozen=True, kw_only=True):
    """A device of the account; `current` is the one that asks."""

    id: UUID
    name: str
    hardware_id: str
    platform: str
    os_version: str
    status: DeviceStatus
    current: bool
    created_at: datetime
    verified_at: datetime | None
    last_seen_at: datetime | None


class DeviceList(Wire, frozen=True, kw_only=True):
    devices: list[Device]


class DeviceAnswer(Wire, frozen=True, kw_only=True):
    device: Device
