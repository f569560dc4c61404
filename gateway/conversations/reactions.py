"""Which reactions stand on a message.

A reaction is a message about another one. Its type is a word (love, like, dislike, laugh, emphasize, question, sticker, an emoji); a
leading `-` takes it back. iMessage's own numbers are read as these words: 2000 to 2007 set, 3000 to 3007 take back. Of 2006, a reaction
with an emoji, the sync keeps the emoji.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from gateway.sync.schemas import Direction

_WORDS = ("love", "like", "dislike", "laugh", "emphasize", "question", "emoji", "sticker")
_NUMBERS = {f"200{index}": word for index, word in enumerate(_WORDS)} | {f"300{index}": f"-{word}" for index, word in enumerate(_WORDS)}


@dataclass(frozen=True, slots=True, kw_only=True)
class SentReaction:
    """A reaction as it was sent. `speaker` is the same for all handles of one contact."""

    type: str
    speaker: str
    direction: Direction
    sender_id: str
    sender_name: str | None
    sent_at: datetime


def standing(sent: Iterable[SentReaction]) -> list[tuple[str, SentReaction]]:
    """The reactions that stand, with their types as words; `sent` are those about one message, oldest first."""
    latest: dict[str, tuple[str, SentReaction]] = {}
    for reaction in sent:
        who = "the owner" if reaction.direction == "outgoing" else f"other {reaction.speaker}"
        latest.pop(who, None)
        word = _NUMBERS.get(reaction.type, reaction.type)
        if not word.startswith("-"):
            latest[who] = (word, reaction)
    return list(latest.values())
