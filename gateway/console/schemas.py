from datetime import datetime

from gateway.wire import Wire


class SessionToken(Wire, frozen=True, kw_only=True):
    """What a page may know of its session: the token that it sends, and until when that is good. The refresh token is in a cookie."""

    token: str
    expires_at: datetime
