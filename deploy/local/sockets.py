"""Where the embedded servers put their Unix sockets."""

import hashlib
import os
import tempfile
from pathlib import Path

from deploy.local.processes import StartError


def socket_dir(data_dir: Path) -> Path:
    """The folder for the sockets of a server with this data folder, always the same one; it need not be there yet.

    It is not inside the data folder because a socket's path is limited to 107 bytes (unix(7)).
    """
    digest = hashlib.sha256(str(data_dir.resolve()).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"conversation-assistant-{digest}"


def make_private(path: Path, owner: int | None = None) -> None:
    """Make a folder that only `owner` (a user id; none means ourselves) may enter.

    Raises:
        StartError: the folder exists and is somebody else's.
    """
    owner = os.geteuid() if owner is None else owner
    path.mkdir(mode=0o700, exist_ok=True)
    if path.is_symlink() or path.stat().st_uid not in (os.geteuid(), owner):
        raise StartError(f"{path} belongs to somebody else: remove it, or set TMPDIR to a folder of your own")
    if path.stat().st_uid != owner:
        os.chown(path, owner, -1)
