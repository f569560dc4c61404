from collections.abc import Sequence

from litestar.config.cors import CORSConfig


def cors_config(origins: Sequence[str]) -> CORSConfig | None:
    """Lets the pages that the operator named read answers; none of them may send the console's cookie."""
    if not origins:
        return None
    return CORSConfig(
        allow_origins=list(origins),
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "Accept", "Idempotency-Key", "Last-Event-ID", "Prefer", "X-Request-Id"],
        expose_headers=["Content-Disposition", "Location", "Retry-After", "X-Request-Id"],
    )
