"""What a backup says about itself: `manifest.json`, the archive's last member but one. It has neither secrets nor texts."""

import hashlib
from datetime import datetime
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from gateway.backup.errors import BackupError
from gateway.backup.progress import size
from shared.adapter_store.manifest import StoredFile

FORMAT: Final = 1
"""The form of the archive; a restore reads no other."""
MANIFEST_BYTES: Final = 64 * 2**20
"""More than any manifest has: 300 bytes for each adapter's file."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Counts and digests of each part, as of one moment."""

    format: int
    created_at: datetime
    schema: str
    """The newest migration that the database had."""
    server: Annotated[int, Meta(ge=1)]
    """PostgreSQL's major version."""
    dumped_with: Annotated[int, Meta(ge=1)]
    """pg_dump's; no older pg_restore can read the dump."""
    rows: dict[str, Annotated[int, Meta(ge=0)]]
    """How many each table had."""
    database: StoredFile
    """PostgreSQL's dump, put together from its pieces."""
    adapters: Annotated[int, Meta(ge=0)]
    adapters_without_files: Annotated[int, Meta(ge=0)]
    """The database names them, and the store had no whole files of them."""
    files: dict[str, StoredFile]
    """Of the adapters, by their names in the archive."""

    def summary(self) -> str:
        """What there is, for people."""
        adapter_bytes = sum(file.size for file in self.files.values())
        return (
            f"{sum(self.rows.values())} rows of {self.rows.get('account', 0)} accounts ({size(self.database.size)}) and {self.adapters}"
            f" adapters ({size(adapter_bytes)}), schema {self.schema}, as of {self.created_at:%Y-%m-%d %H:%M:%S} UTC"
        )


class _Form(msgspec.Struct):
    format: int


def encode(manifest: Manifest) -> bytes:
    """As it is in the archive."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2)


def decode(data: bytes) -> Manifest:
    """Read a manifest, which anyone may have written.

    Raises:
        BackupError: it cannot be read, or is of another form.
    """
    try:
        form = msgspec.json.decode(data, type=_Form).format
        if form != FORMAT:
            raise BackupError(
                f"The backup has format {form}, and this release reads format {FORMAT}: restore it with the release that made it"
            )
        return msgspec.json.decode(data, type=Manifest)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise BackupError("The backup's manifest.json cannot be read: take another backup") from error


def digest_line(data: bytes) -> bytes:
    """What `manifest.sha256` says of a manifest; `sha256sum --check` understands it."""
    return f"{hashlib.sha256(data).hexdigest()}  manifest.json\n".encode()
