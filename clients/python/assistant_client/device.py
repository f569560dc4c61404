"""What this machine says of itself when it is paired."""

import platform
import sys
from uuid import uuid4

from assistant_client.models import DeviceRegistration, Platform


def this_device(name: str | None = None) -> DeviceRegistration:
    """A registration of this machine, by its own name unless one is given. Every call is a device of its own."""
    return DeviceRegistration(
        name=(name or platform.node() or "Python client")[:200],
        hardware_id=uuid4().hex,
        platform=_platform(),
        os_version=(platform.release() or "unknown")[:100],
    )


def _platform() -> Platform:
    return "macos" if sys.platform == "darwin" else "windows" if sys.platform == "win32" else "linux"
