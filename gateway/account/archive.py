"""A zip that is written while it is sent: nothing of it is kept, and without its end it is no zip."""

import asyncio
import io
import zipfile
from typing import Any


class _Outbox(io.RawIOBase):
    """Where the zip writer puts its bytes until they are sent. It cannot seek, so sizes follow the data, as in any streamed zip."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        part = bytes(data)
        self._parts.append(part)
        return len(part)

    def take(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


class StreamedZip:
    """Files one after the other, each in as many pieces as it takes. Every method returns the bytes that can be sent now."""

    def __init__(self) -> None:
        self._outbox = _Outbox()
        self._zip = zipfile.ZipFile(self._outbox, "w", zipfile.ZIP_DEFLATED)
        self._file: Any = None

    def begin(self, name: str, date: tuple[int, int, int, int, int, int]) -> bytes:
        """Start the next file; `date` is UTC, year to second."""
        self._close_file()
        info = zipfile.ZipInfo(name, date)
        info.compress_type = zipfile.ZIP_DEFLATED
        self._file = self._zip.open(info, "w", force_zip64=True)
        return self._outbox.take()

    async def write(self, data: bytes) -> bytes:
        """Compress a piece, in a thread, because it takes milliseconds."""
        await asyncio.to_thread(self._file.write, data)
        return self._outbox.take()

    def end(self) -> bytes:
        """The table of contents, which makes it a zip."""
        self._close_file()
        self._zip.close()
        return self._outbox.take()

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
