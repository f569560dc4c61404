"""The prompt: a thread's messages as the chat turns that a draft is generated from, and that training teaches on.

Pure functions, so that a draft and a sample made from the same messages are the same to the letter. The rules:

- One system turn says whose voice it is and, if wanted, who the others are. It depends on nothing but the thread, so its tokens stay in
  the model's prefix cache.
- What others wrote is `user`, what the owner wrote is `assistant`. People write one thought in several messages: those of one sender that
  follow each other within two minutes are one turn, a line each.
- In a group the sender's name leads a turn. Who has no name, or is not to be named, is "Person 1", "Person 2" by appearance.
- Reactions (as texts, too), system rows, retracted messages and rows that say nothing are left out. A picture that somebody sent without
  words stays as "[image]", because the next line is often about it; the owner's own stay out, or the model would learn to answer "[image]".
- The last messages are taken, as many as were asked for and `MOST_CHARACTERS` hold.
- Handles (telephone numbers, addresses) never enter a prompt.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from gateway.message_text.blank import shown
from shared.contracts.generation import Turn

DRAFT_HISTORY = 10
"""How many messages a draft's prompt has if nobody says otherwise."""
BURST_GAP = timedelta(minutes=2)
"""Messages of one sender that are at most this far apart are one turn."""
LONGEST_LINE = 16_000
"""Characters of a message that a prompt has at most: its end, since that is what an answer is to."""
MOST_CHARACTERS = 64_000
"""Of all messages in a prompt; the oldest are left out. That is some 16,000 tokens; the ML service takes what its model can read."""
_MOST_NAMES = 12
_LONGEST_NAME = 60

_VOICE = (
    "Write your next message in the same voice: the same language, tone, length, spelling and punctuation."
    " Reply with the text of that one message and nothing else."
)

Direction = Literal["incoming", "outgoing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    """What the system turn may say about a conversation. `names` are the known names of the others, `title` is the thread's own name."""

    is_group: bool
    title: str | None = None
    names: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One message. `speaker` is the same for all handles of one contact; `attachment` is the first attachment's MIME type."""

    id: UUID
    direction: Direction
    speaker: str
    sent_at: datetime
    text: str | None
    name: str | None = None
    attachment: str | None = None

    @property
    def content(self) -> str:
        """What the line says; empty when it says nothing."""
        text = shown(self.text)
        if self.attachment is None or self.direction == "outgoing":
            return text
        return f"{_attachment_tag(self.attachment)} {text}".rstrip()


@dataclass(frozen=True, slots=True)
class Prompt:
    """Chat turns, and beside each the ids of the messages in it; the system turn has none."""

    turns: list[Turn] = field(default_factory=list)
    turn_message_ids: list[tuple[UUID, ...]] = field(default_factory=list)

    @property
    def message_ids(self) -> list[UUID]:
        """All messages whose text is in the prompt, oldest first."""
        return [message_id for ids in self.turn_message_ids for message_id in ids]


def render(thread: Thread, lines: Sequence[Line], *, include_contact_info: bool) -> Prompt:
    """The prompt of `lines`, which are in order, oldest first, and end with the message to answer."""
    prompt = Prompt([Turn(role="system", content=system_text(thread, include_contact_info=include_contact_info))], [()])
    strangers: dict[str, str] = {}
    for burst in bursts(thread, _last(lines)):
        first, text = burst[0], "\n".join(line.content for line in burst)
        if first.direction == "outgoing":
            turn = Turn(role="assistant", content=text)
        elif thread.is_group:
            name = _name(first.name) if include_contact_info else None
            turn = Turn(role="user", content=f"{name or _stranger(first.speaker, strangers)}: {text}")
        else:
            turn = Turn(role="user", content=text)
        prompt.turns.append(turn)
        prompt.turn_message_ids.append(tuple(line.id for line in burst))
    return prompt


def _last(lines: Sequence[Line]) -> Sequence[Line]:
    """The newest lines that have room together; the last one always has."""
    characters = 0
    for count, line in enumerate(reversed(lines)):
        characters += len(line.content)
        if count and characters > MOST_CHARACTERS:
            return lines[len(lines) - count :]
    return lines


def bursts(thread: Thread, lines: Sequence[Line]) -> list[list[Line]]:
    """Lines, oldest first, by what one sender wrote in one go; lines that say nothing are dropped."""
    found: list[list[Line]] = []
    for line in lines:
        if not line.content:
            continue
        if found and _continues(thread, found[-1][-1], line):
            found[-1].append(line)
        else:
            found.append([line])
    return found


def system_text(thread: Thread, *, include_contact_info: bool) -> str:
    """The system turn: whose voice, and in what company."""
    if thread.is_group:
        company = f"a group chat{_group_company(thread) if include_contact_info else ''}"
        rule = "Each message of the others begins with the name of its sender; yours do not."
    else:
        name = _other_name(thread) if include_contact_info else None
        company, rule = f"a private chat{f' with {name}' if name else ''}", ""
    opening = f"You are the owner of this phone, in {company}. The assistant's messages are the ones you wrote yourself."
    return " ".join(part for part in (opening, rule, _VOICE) if part)


def _continues(thread: Thread, before: Line, line: Line) -> bool:
    same_side = before.direction == line.direction
    same_sender = same_side and (before.speaker == line.speaker or before.direction == "outgoing" or not thread.is_group)
    return same_sender and line.sent_at - before.sent_at <= BURST_GAP


def _stranger(speaker: str, strangers: dict[str, str]) -> str:
    return strangers.setdefault(speaker, f"Person {len(strangers) + 1}")


def _group_company(thread: Thread) -> str:
    names = list(dict.fromkeys(name for name in map(_name, thread.names) if name))
    title = _name(thread.title)
    listed, more = names[:_MOST_NAMES], len(names) - _MOST_NAMES
    if more > 0:
        listed.append("others")
    company = " and ".join([", ".join(listed[:-1]), listed[-1]] if len(listed) > 1 else listed)
    return (f' named "{title}"' if title else "") + (f" with {company}" if company else "")


def _other_name(thread: Thread) -> str | None:
    return next(filter(None, map(_name, [*thread.names, thread.title])), None)


def _name(name: str | None) -> str | None:
    """A name on one line; None for what is no name but a number or an address, as a thread without a contact is titled."""
    words = " ".join((name or "").split())[:_LONGEST_NAME].strip()
    looks_like_handle = "@" in words or not any(character.isalpha() for character in words)
    return None if looks_like_handle else words


def _attachment_tag(mime_type: str) -> str:
    kind = mime_type.partition("/")[0].lower()
    return f"[{kind}]" if kind in ("image", "video", "audio") else "[attachment]"
