"""Looks through a whole backup before anything is touched: is it whole, is it what its manifest says, and can the dump be read?"""

import hashlib
import re
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NoReturn

from gateway.backup.archive import ADAPTERS, DAMAGED, MANIFEST, MANIFEST_DIGEST, Archive, is_database
from gateway.backup.errors import BackupError
from gateway.backup.manifest import MANIFEST_BYTES, Manifest, decode, digest_line
from gateway.backup.programs import find, newest, running
from gateway.backup.progress import Progress
from gateway.piccolo_app import APP_CONFIG
from shared.adapter_store import manifest as adapter_manifest
from shared.adapter_store.manifest import DamagedManifest, StoredFile
from shared.contracts.names import is_name

_COPY: Final = re.compile(rb'COPY public\.("?)([^"]+?)\1 \((.*)\) FROM stdin;\n')
_END: Final = b"\\.\n"
_MIGRATION_ID: Final = re.compile(r'^ID = "(.+)"$', re.MULTILINE)


def verify(archive: Archive) -> Manifest:
    """Read it from beginning to end.

    Returns:
        What it says of itself, which is so.

    Raises:
        BackupError: it is damaged, or not for this release or these programs; nothing was touched.
    """
    progress = Progress("verifying", archive.size)
    contents = _Contents()
    with ExitStack() as stack:
        rows = _RowCounter(stack)
        for name, data in archive.pieces(lambda _: True, progress):
            contents.take(name, data)
            if is_database(name):
                rows.feed(data)
        manifest = contents.manifest()
        _check_schema(manifest.schema)
        rows.end(manifest)
    progress.end()
    contents.compare(manifest)
    for what, found, said in (("schema", rows.schema, manifest.schema), ("rows", rows.counts, manifest.rows)):
        if found != said:
            raise BackupError(f"The backup's manifest.json lies about its {what}: it was changed; take another backup")
    return manifest


def known_migrations() -> list[str]:
    """Ids of the migrations of this release, oldest first."""
    files = Path(APP_CONFIG.resolved_migrations_folder_path).glob("gateway_*.py")
    return sorted(found[1] for file in files if (found := _MIGRATION_ID.search(file.read_text())))


def _check_schema(schema: str) -> None:
    known = known_migrations()
    if schema not in known:
        raise BackupError(
            f"The backup has schema {schema}, and this release knows schemas up to {known[-1]}: restore it with the release that made it,"
            " or with a newer one"
        )


class _Contents:
    """What the members are, as they are read."""

    def __init__(self) -> None:
        self._last = ""
        self._pieces = 0
        self._files: dict[str, _Measured] = {}
        self._database = _Measured()
        self._adapters: dict[str, bytearray] = {}
        """What adapters say of themselves, by their folders in the archive."""
        self._manifest = bytearray()
        self._digest = bytearray()

    def take(self, name: str, data: bytes) -> None:
        """Note a piece of a member.

        Raises:
            BackupError: it has no place in a backup, or comes after its end.
        """
        if self._digest and name != MANIFEST_DIGEST:
            raise BackupError(DAMAGED)
        if is_database(name):
            self._pieces += name != self._last
            if name != f"database/{self._pieces:06d}":
                raise BackupError(DAMAGED)
            self._database.add(data)
        elif name.startswith(f"{ADAPTERS}/"):
            folder, _, file = name.rpartition("/")
            self._files.setdefault(name, _Measured()).add(data)
            if file == adapter_manifest.MANIFEST:
                _grow(self._adapters.setdefault(folder, bytearray()), data, adapter_manifest.MANIFEST_BYTES)
        elif name == MANIFEST:
            _grow(self._manifest, data, MANIFEST_BYTES)
        elif name == MANIFEST_DIGEST:
            _grow(self._digest, data, 1024)
        else:
            raise BackupError(DAMAGED)
        self._last = name

    def manifest(self) -> Manifest:
        """What the backup says of itself.

        Raises:
            BackupError: it has no end, or says something else than what was written.
        """
        if not self._digest:
            raise BackupError("The backup has no end: it is cut off or damaged; take another one")
        if bytes(self._digest) != digest_line(bytes(self._manifest)):
            _refuse("manifest.json")
        return decode(bytes(self._manifest))

    def compare(self, manifest: Manifest) -> None:
        """Compare what there is with what is said.

        Raises:
            BackupError: they differ.
        """
        if self._database.file() != manifest.database:
            _refuse("database")
        files = {name: measured.file() for name, measured in self._files.items()}
        for name in sorted({*files, *manifest.files}):
            if files.get(name) != manifest.files.get(name):
                _refuse(name)
        wanted = {f"{ADAPTERS}/{'/'.join(key)}": files for key, files in self._adapters_say().items()}
        if len(wanted) != manifest.adapters:
            _refuse("adapters")
        of_adapters = {f"{folder}/{name}": file for folder, files in wanted.items() for name, file in files.items()}
        if of_adapters != {name: file for name, file in files.items() if not name.endswith(f"/{adapter_manifest.MANIFEST}")}:
            _refuse("adapters")

    def _adapters_say(self) -> dict[tuple[str, str], dict[str, StoredFile]]:
        said = {}
        for folder, data in self._adapters.items():
            _, scope, adapter_id = folder.split("/") if folder.count("/") == 2 else ("", "", "")
            if not (is_name(scope) and is_name(adapter_id)):
                raise BackupError(DAMAGED)
            try:
                said[scope, adapter_id] = adapter_manifest.decode(bytes(data), scope, adapter_id).files
            except DamagedManifest:
                _refuse(f"{folder}/{adapter_manifest.MANIFEST}")
        return said


class _Measured:
    """A file's size and digest, as it is read."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._size = 0

    def add(self, data: bytes) -> None:
        self._digest.update(data)
        self._size += len(data)

    def file(self) -> StoredFile:
        return StoredFile(size=self._size, sha256=self._digest.hexdigest())


class _RowCounter:
    """Has pg_restore turn the dump into text, and counts the rows: who can do that can also restore it."""

    def __init__(self, stack: ExitStack) -> None:
        """The program ends with the stack."""
        self.counts: dict[str, int] = {}
        self.schema: str | None = None
        self._program = newest("pg_restore")
        self._child = stack.enter_context(running(self._program, ["--data-only", "--file=-"], fed=True))
        self._error: BackupError | None = None
        self._thread = threading.Thread(target=self._count, name="row counter", daemon=True)
        self._thread.start()

    def feed(self, data: bytes) -> None:
        """Give it a piece of the dump; once it has failed, it gets no more."""
        if self._error is None:
            try:
                self._child.feed(data)
            except BackupError as error:
                self._error = error

    def end(self, manifest: Manifest) -> None:
        """Let it come to its end.

        Raises:
            BackupError: it could not read the dump.
        """
        if self._error is None:
            try:
                self._child.wait()
            except BackupError as error:
                self._error = error
        self._thread.join()
        if self._error is not None:
            find("pg_restore", lowest=manifest.dumped_with)  # says so if it is only too old
            raise BackupError(f"The backup's dump cannot be read: take another one. {self._error}") from self._error

    def _count(self) -> None:
        table, columns = "", [b""]
        for line in self._child.output:
            if table == "":
                if copy := _COPY.fullmatch(line):
                    table, columns = copy[2].decode(), [column.strip(b' "') for column in copy[3].split(b",")]
                    self.counts.setdefault(table, 0)
            elif line == _END:
                table = ""
            else:
                self.counts[table] += 1
                if table == "migration":
                    row = dict(zip(columns, line.rstrip(b"\n").split(b"\t"), strict=False))
                    if row.get(b"app_name") == b"gateway":
                        self.schema = max(self.schema or "", row.get(b"name", b"").decode())


def _grow(content: bytearray, data: bytes, limit: int) -> None:
    content += data
    if len(content) > limit:
        raise BackupError(DAMAGED)


def _refuse(part: str) -> NoReturn:
    raise BackupError(f"The backup's {part} is not what was written: it is damaged or was changed; take another backup")
