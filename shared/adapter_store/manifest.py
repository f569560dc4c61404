"""What a stored adapter says about itself: `manifest.json`, which makes a folder of files an adapter."""

from datetime import datetime
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from shared.errors import Conflict

CONFIG: Final = "adapter_config.json"
WEIGHTS: Final = "adapter_model.safetensors"
MANIFEST: Final = "manifest.json"
MANIFEST_BYTES: Final = 64 * 2**10
"""More than any manifest has."""


class DamagedManifest(Conflict):
    """A stored manifest cannot be read, or speaks of something else."""


class StoredFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file as it was published; `size` in bytes, `sha256` in hex."""

    size: Annotated[int, Meta(ge=0)]
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """One immutable version of an adapter; `base_model` is a name of the catalogue."""

    adapter_id: str
    scope: str
    base_model: str
    rank: Annotated[int, Meta(ge=1)]
    created_at: datetime
    files: dict[str, StoredFile]

    @property
    def key(self) -> tuple[str, str]:
        """Its scope and id."""
        return self.scope, self.adapter_id

    @property
    def name(self) -> str:
        """Unique to this version: the engine caches by name."""
        return f"{self.scope}/{self.adapter_id}@{self.digest}"

    @property
    def size_bytes(self) -> int:
        return sum(file.size for file in self.files.values())

    @property
    def digest(self) -> str:
        """Twelve hex digits that no other version's weights have."""
        return self.files[WEIGHTS].sha256[:12]

    def is_same_version(self, other: "Manifest") -> bool:
        """Whether both were made of the same bytes for the same model, whenever that was."""
        return (self.base_model, self.files) == (other.base_model, other.files)


def encode(manifest: Manifest) -> bytes:
    """As it is stored."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2)


def decode(data: bytes, scope: str, adapter_id: str) -> Manifest:
    """Read a stored manifest, which anyone may have written.

    Raises:
        DamagedManifest: it cannot be read, or speaks of another adapter or of other files.
    """
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise DamagedManifest("The adapter's manifest.json cannot be read") from error
    if (manifest.scope, manifest.adapter_id) != (scope, adapter_id):
        raise DamagedManifest("The adapter's manifest.json is that of another adapter")
    if set(manifest.files) != {CONFIG, WEIGHTS}:
        raise DamagedManifest(f"The adapter's manifest.json must name {CONFIG} and {WEIGHTS}, and nothing else")
    return manifest
