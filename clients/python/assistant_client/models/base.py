"""What all bodies have in common."""

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

Time = Annotated[datetime, Meta(tz=True)]
"""With a zone: the API takes no other."""


class Body(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A body of the API. Fields that a newer gateway adds to an answer are ignored."""
