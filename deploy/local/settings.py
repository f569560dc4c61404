"""What `make run` may be told; every other setting of the services is passed through from the environment."""

from typing import Annotated

import msgspec
from msgspec import Meta


class LocalSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Read from the environment, like the services' own settings."""

    data_dir: Annotated[str, Meta(description="Where `make run` keeps the database, the queue, models, keys and logs.")] = ".data"
    gateway_host: Annotated[
        str, Meta(description="Address the gateway listens on with `make run`; `0.0.0.0` lets other devices in, by address.")
    ] = "127.0.0.1"
    gateway_port: Annotated[int, Meta(ge=1, le=65535, description="Port of the gateway with `make run`.")] = 3100
    https: Annotated[
        bool,
        Meta(
            description="`make run HTTPS=1` also serves the gateway over HTTPS, with certificates of its own, to the network that it is in."
        ),
    ] = False
    https_port: Annotated[int, Meta(ge=1, le=65535, description="Port of the gateway over HTTPS with `make run HTTPS=1`.")] = 3443
    http_port: Annotated[
        int,
        Meta(ge=1, le=65535, description="Port of the page that hands out the certificate with `make run HTTPS=1`; nothing else is there."),
    ] = 3180
    ml_service_port: Annotated[int, Meta(ge=1, le=65535, description="Port of the ML service with `make run`.")] = 8100
