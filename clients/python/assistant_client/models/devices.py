"""Devices and their pairing."""

from typing import Literal
from uuid import UUID

from assistant_client.models.base import Body, Time

Platform = Literal["macos", "ios", "ipados", "watchos", "windows", "linux", "android", "web"]
DeviceStatus = Literal["pending", "active", "deactivated"]


class DeviceRegistration(Body, frozen=True, kw_only=True):
    """What a device says of itself. `hardware_id` is its own; within the account the same one is the same device."""

    name: str
    hardware_id: str
    platform: Platform
    os_version: str


class Pairing(Body, frozen=True, kw_only=True):
    """What to type into the device that is to be paired. The code works once, until `expires_at`."""

    device_id: UUID
    code: str
    expires_at: Time

    def __repr__(self) -> str:
        """Without the code: what is printed or logged lets nobody in."""
        return f"Pairing(device_id={self.device_id}, expires_at={self.expires_at})"


class Device(Body, frozen=True, kw_only=True):
    """A device of the account; `current` is the one that asks."""

    id: UUID
    name: str
    hardware_id: str
    platform: str
    os_version: str
    status: DeviceStatus
    current: bool
    created_at: Time
    verified_at: Time | None
    last_seen_at: Time | None
