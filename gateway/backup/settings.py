"""What `gateway backup` and `gateway restore` must be told; they need none of the service's keys."""

from typing import Annotated

import msgspec
from msgspec import Meta


class BackupSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The same variables as those of the services whose data it is."""

    database_url: Annotated[str, Meta(description="The gateway's own DATABASE_URL.")]
    adapter_store: Annotated[
        str, Meta(description="The ML service's own ADAPTER_STORE: a folder, or a bucket. Empty: the folder `adapters` in DATA_DIR.")
    ] = ""
    data_dir: Annotated[str, Meta(description="The ML service's own DATA_DIR.")] = ".data"
