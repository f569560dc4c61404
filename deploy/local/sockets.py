"""Where the embedded servers put their Unix sockets."""

import hashlib
import os
import tempfile
from pathlib import Path

from deploy.local.processes import StartError


def private_socket_dir(data_dir: Path, owner: int | None = None) -> Path:
    """A folder that only `owner` (a user id; none means ourselves) may enter, the same one for the same data folder.

    It is not inside the data folder because a socket's path is limited to 107 bytes (unix(7)).

    Raises:
        StartError: the folder exists and is somebody else's.
    """
    owner = os.geteuid() if owner is None else owner
    digest = hashlib.sha256(str(data_dir.resolve()).encode()).hexdigest()[:12]
    path = Path(tempfile.gettempdir()) / f"conversation-assistant-{digest}"
    path.mkdir(mode=0o700, exist_ok=True)
    if path.is_symlink() or path.stat().st_uid not in (os.geteuid(), owner):
        raise StartError(f"{path} belongs to somebody else: remove it, or set TMPDIR to a folder of your own")
    if path.stat().st_uid != owner:
        os.chown(path, owner, -1)
    return path
