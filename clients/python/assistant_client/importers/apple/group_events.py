"""What happened in a group, in words: `item_type` and `group_action_type` say it in numbers."""

from typing import NamedTuple


class GroupEvent(NamedTuple):
    """The words of an event, or why it has none."""

    text: str | None
    reason: str = ""


_TEXTS = {
    (1, 0): "added {other}",
    (1, 1): "removed {other}",
    (3, 0): "left the conversation",
    (3, 1): "changed the group photo",
    (3, 2): "removed the group photo",
}
_NOT_TOLD = {4: "location sharing", 5: "note that an audio message was kept", 6: "call"}
_RENAMED = 2


def group_event(item_type: int, action: int, title: str | None, other: str | None) -> GroupEvent:
    """`other` is whom it happened to."""
    if item_type == _RENAMED:
        return GroupEvent(f"named the conversation “{title}”" if title else "removed the name of the conversation")
    if words := _TEXTS.get((item_type, action)):
        return GroupEvent(words.format(other=other or "somebody"))
    return GroupEvent(None, _NOT_TOLD.get(item_type, "event of a kind that is not known"))
