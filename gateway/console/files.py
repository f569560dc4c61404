"""The files of the console: read once when the service is put together, and kept as they are sent."""

import gzip
import hashlib
import posixpath
import re
from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).parent / "static"
_INDEX = "index.html"
_MAIN = "app.js"
_IMPORT = re.compile(r"""\bfrom\s*["'](\.[^"']+)["']""")
_KINDS = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".LICENSE": "text/plain",
}


@dataclass(frozen=True, slots=True)
class File:
    """A file as it is and as it is sent compressed; `etag` is of its content."""

    kind: str
    content: bytes
    compressed: bytes
    etag: str


class ConsoleFiles:
    """Every file of the folder by its path in it, such as `pages/threads.js`; there is no other way into the folder."""

    def __init__(self, registration: str) -> None:
        """`registration` is the setting, `open` or `closed`: the first page has to know whether it may begin an account."""
        paths = {path.relative_to(_FOLDER).as_posix(): path for path in sorted(_FOLDER.rglob("*")) if path.suffix in _KINDS}
        contents = {name: path.read_bytes() for name, path in paths.items()}
        preloads = "\n    ".join(f'<link rel="modulepreload" href="/console/{name}" />' for name in _imported(contents, _MAIN))
        page = contents[_INDEX].decode().replace("{registration}", registration).replace("{preloads}", preloads)
        contents[_INDEX] = page.encode()
        self._files = {name: _file(name, content) for name, content in contents.items()}
        self.index = self._files.pop(_INDEX)

    def find(self, name: str) -> File | None:
        return self._files.get(name)


def _imported(contents: dict[str, bytes], main: str) -> list[str]:
    """The modules that one stands on: a browser that knows all of them at once does not find them one after the other."""
    found: list[str] = []
    waiting = [main]
    while waiting:
        name = waiting.pop(0)
        for relative in _IMPORT.findall(contents[name].decode()):
            imported = posixpath.normpath(posixpath.join(posixpath.dirname(name), relative))
            if imported not in found and imported != main:
                found.append(imported)
                waiting.append(imported)
    return found


def _file(name: str, content: bytes) -> File:
    etag = hashlib.sha256(content).hexdigest()[:32]
    return File(kind=_KINDS[Path(name).suffix], content=content, compressed=gzip.compress(content, mtime=0), etag=etag)
