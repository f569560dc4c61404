"""Chat identifiers: which of them are chats with one person, and with whom."""

from gateway.sync.handles import LONGEST_HANDLE, handle_of

_GROUP, _DIRECT = "+", "-"


def is_group_identifier(imessage_id: str) -> bool:
    """Whether it says that it is of a group: `<service>;+;<id>`."""
    return _style_of(imessage_id)[0] == _GROUP


def peer_of(imessage_id: str) -> str | None:
    """The handle, as it is stored, of the one person that a chat is with, if its identifier says that.

    `<service>;-;<handle>`, such as `iMessage;-;+14155550100`, or nothing but a telephone number with its country code or an address.
    """
    style, handle = _style_of(imessage_id)
    peer = handle_of(imessage_id if style is None else handle)
    if style == _GROUP or not 0 < len(peer) <= LONGEST_HANDLE:
        return None
    return peer if style == _DIRECT or (peer.startswith("+") and peer[1:].isdigit()) or _is_address(peer) else None


def _style_of(imessage_id: str) -> tuple[str | None, str]:
    parts = imessage_id.split(";", 2)
    return (parts[1], parts[2]) if len(parts) == 3 and parts[1] in (_GROUP, _DIRECT) else (None, "")


def _is_address(handle: str) -> bool:
    name, at, domain = handle.partition("@")
    return bool(name and at and domain) and not any(character.isspace() or character in ";@" for character in name + domain)
