"""An export on its way to a file."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

from assistant_client.errors import Unreachable


class Download:
    """Writes to a file beside the one that is meant, and puts it there only when it is whole. Nobody else may read it."""

    def __init__(self, path: Path, on_bytes: Callable[[int], None] | None = None) -> None:
        """`on_bytes` is told how many bytes there are so far."""
        self._path = path
        self._on_bytes = on_bytes
        self._temporary = path.with_name(f"{path.name}.{uuid4().hex}")
        self._written = 0

    def __enter__(self) -> Self:
        self._file = os.fdopen(os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()
        try:
            if error is None:
                self._finish()
        finally:
            self._temporary.unlink(missing_ok=True)

    def write(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self._written += len(chunk)
        if self._on_bytes is not None:
            self._on_bytes(self._written)

    def _finish(self) -> None:
        if not zipfile.is_zipfile(self._temporary):  # its directory comes last
            raise Unreachable("The export broke off: start it again", maybe_done=True)
        self._temporary.replace(self._path)
