"""From conversations to prompt tokens, with message text that cannot pose as control tokens.

A chat template joins turns with control tokens such as `<|im_end|>`. Were the joined string tokenised as one, a message that contains
the characters `<|im_end|>` would end its own turn and could speak as the system. Here the template is rendered with placeholders where
the contents go; control tokens are looked for only in the template's own words, and everything else is tokenised by a copy of the
tokenizer that knows no control tokens at all. For text without such characters the tokens equal the ordinary ones: text between two
control tokens is tokenised in one piece, as the ordinary tokenizer does. Training uses this very same rendering.
"""

import json
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NoReturn, Protocol, Self

from jinja2 import TemplateError

from shared.contracts.generation import Role, Turn
from shared.errors import BadRequest

ROLES: tuple[Role, ...] = ("system", "user", "assistant")


class UnsupportedTokenizer(Exception):
    """The checkpoint's tokenizer or template cannot be used for chat; the message says why."""


class PromptRenderer(Protocol):
    """Makes prompt token ids for one model."""

    def text(self, prompt: str) -> list[int]:
        """Tokens of raw text, led by what the model expects at the beginning of a text, if anything."""

    def turns(self, turns: Sequence[Turn], *, answer_follows: bool = True) -> list[int]:
        """Tokens of chat turns; with `answer_follows` they end where the assistant's answer begins.

        Raises:
            BadRequest: the model's template refuses the order of the roles.
        """


@dataclass(frozen=True, slots=True)
class Fitted:
    """A prompt that fits, and how many of its oldest turns were dropped for that."""

    tokens: list[int]
    dropped: int


CHARACTERS_PER_TOKEN: Final = 10
"""More than any language's text has on average: text with more characters than this for each token that there is room for does not fit."""


def check_characters(prompt: str | None, turns: Sequence[Turn], limit: int) -> None:
    """Refuse what has far too many characters for `limit` tokens, without the work of tokenising it.

    Raises:
        BadRequest: it has.
    """
    room = max(limit, 0) * CHARACTERS_PER_TOKEN
    if prompt is not None and len(prompt) > room:
        raise _too_many_characters("prompt", len(prompt), room)
    if (count := sum(map(_characters, turns))) > room:
        raise _too_many_characters("messages", count, room)


def without_oldest_characters(turns: Sequence[Turn], limit: int) -> tuple[list[Turn], int]:
    """What is left of turns that have far too many characters for `limit` tokens, and how many of the oldest were dropped for that.

    System turns stay, and so does the last turn: of that the end, if it is too long by itself.

    Raises:
        BadRequest: the system turns alone have too many.
    """
    room = max(limit, 0) * CHARACTERS_PER_TOKEN
    *before, last = turns
    left = room - sum(_characters(turn) for turn in before if turn.role == "system") - CHARACTERS_PER_TOKEN
    if left < 1:
        raise _too_many_characters("messages", sum(map(_characters, turns)), room)
    last = replace(last, content=last.content[-left:])
    left -= len(last.content)
    kept: list[Turn] = []
    dropped = 0
    for turn in reversed(before):
        if turn.role != "system":
            left -= _characters(turn)
            if left < 0:
                dropped += 1
                continue
        kept.append(turn)
    return [*reversed(kept), last], dropped


def _characters(turn: Turn) -> int:
    """A turn's characters, and as many as one token has for what the template puts around it."""
    return len(turn.content) + CHARACTERS_PER_TOKEN


def _too_many_characters(field: str, count: int, room: int) -> BadRequest:
    return BadRequest.field(field, f"{count:,} characters, more than the {room:,} that can fit the model's context window")


def fit_turns(renderer: PromptRenderer, turns: Sequence[Turn], limit: int, *, drop_oldest: bool, cut_last: bool = False) -> Fitted:
    """Render turns into at most `limit` tokens.

    With `drop_oldest` the fewest possible of the oldest turns are left out, never system turns and never the last turn. With `cut_last`
    the last turn loses its beginning where that is not enough.

    Raises:
        BadRequest: it does not fit, even so.
    """
    tokens = renderer.turns(turns)
    if len(tokens) <= limit:
        return Fitted(tokens, 0)
    droppable = [index for index, turn in enumerate(turns[:-1]) if turn.role != "system"] if drop_oldest else []
    if not droppable:
        return Fitted(_with_last_cut(renderer, turns, tokens, limit) if cut_last else _refused(tokens, limit), 0)

    def without(count: int) -> list[int]:
        dropped = set(droppable[:count])
        return renderer.turns([turn for index, turn in enumerate(turns) if index not in dropped])

    fewest, most = 1, len(droppable)
    best = without(most)
    if len(best) > limit:
        rest = [turn for index, turn in enumerate(turns) if index not in droppable]
        return Fitted(_with_last_cut(renderer, rest, best, limit) if cut_last else _refused(best, limit), most)
    while fewest < most:  # the length falls as more is dropped, so halving finds the fewest
        middle = (fewest + most) // 2
        candidate = without(middle)
        if len(candidate) <= limit:
            best, most = candidate, middle
        else:
            fewest = middle + 1
    return Fitted(best, most)


def _with_last_cut(renderer: PromptRenderer, turns: Sequence[Turn], tokens: list[int], limit: int) -> list[int]:
    """Tokens of turns of which the last has lost as much of its beginning as is necessary; `tokens` are those of the whole.

    Raises:
        BadRequest: the other turns alone do not fit.
    """
    *before, last = turns
    around = len(renderer.turns([*before, replace(last, content="")]))
    if around >= limit:
        raise too_long("messages", len(tokens), limit)
    content = last.content
    while len(tokens) > limit:
        share = (limit - around) / (len(tokens) - around)
        content = content[-min(int(len(content) * share), len(content) - 1) :] if len(content) * share >= 1 else ""
        tokens = renderer.turns([*before, replace(last, content=content)])
    return tokens


def _refused(tokens: list[int], limit: int) -> NoReturn:
    raise too_long("messages", len(tokens), limit)


def too_long(field: str, tokens: int, limit: int) -> BadRequest:
    """The refusal of a prompt that leaves too little room for the answer."""
    excess = tokens - limit
    if limit < 1:
        return BadRequest.field("max_tokens", "leaves no room for a prompt in the model's context window")
    return BadRequest.field(field, f"{tokens} tokens, {excess} more than the {limit} that max_tokens leaves of the model's context window")


@dataclass(frozen=True, slots=True)
class _Control:
    """A control token; some swallow the white space beside them."""

    id: int
    strips_left: bool
    strips_right: bool


@dataclass(frozen=True, slots=True)
class _Answer:
    """What stands around an answer's text, and the control token that ends it."""

    before: str
    after: str
    end: int


class ChatTemplateRenderer:
    """Renders with a Hugging Face tokenizer and its chat template; safe to call from several threads."""

    def __init__(self, tokenizer: Any) -> None:
        """Check that this tokenizer can be rendered exactly.

        Args:
            tokenizer: a transformers tokenizer backed by the tokenizers library.

        Raises:
            UnsupportedTokenizer: it is not, has no chat template, or would be tokenised differently here than by transformers.
        """
        if not getattr(tokenizer, "is_fast", False):
            raise UnsupportedTokenizer("The model's tokenizer has no tokenizer.json")
        if not tokenizer.chat_template:
            raise UnsupportedTokenizer("The model has no chat template")
        self._tokenizer = tokenizer
        self._controls = {
            token.content: _Control(number, token.lstrip, token.rstrip) for number, token in tokenizer.added_tokens_decoder.items()
        }
        self._control_ids = frozenset(control.id for control in self._controls.values())
        longest_first = sorted(self._controls, key=len, reverse=True)
        self._control_pattern = re.compile("(" + "|".join(map(re.escape, longest_first)) + ")") if longest_first else None
        self._plain = _without_control_tokens(tokenizer)
        self._opening = self._find_opening()
        self._placeholder = f"turn-{secrets.token_hex(8)}"
        self._placeholder_pattern = re.compile(f"{self._placeholder}-([0-9]+)-")
        self._answer = self._find_answer()
        try:
            self._trimmed_roles = frozenset(role for role in ROLES if self._trims(role))
            self._check_against_ordinary()
        except TemplateError as error:
            raise UnsupportedTokenizer("The model's chat template has no place for a system, user or assistant turn") from error

    @classmethod
    def load(cls, checkpoint: str, revision: str | None = None) -> Self:
        """Read the tokenizer of a checkpoint: a folder, or a repository of the Hugging Face hub."""
        from transformers import AutoTokenizer

        # Mistral's own backend renders without a template; the same vocabulary is in tokenizer.json.
        return cls(AutoTokenizer.from_pretrained(checkpoint, revision=revision, mistral_format=False))

    def text(self, prompt: str) -> list[int]:
        return [*self._opening, *self._encode(prompt)]

    def turns(self, turns: Sequence[Turn], *, answer_follows: bool = True) -> list[int]:
        try:
            return self._render(turns, answer_follows)
        except TemplateError:
            pass  # some templates demand that user and assistant take turns, which people do not
        try:
            return self._render(list(_alternating(turns)), answer_follows)
        except TemplateError as error:
            raise BadRequest.field("messages", "the model's chat template refuses this order of roles") from error

    @property
    def end_of_turn(self) -> int:
        """The control token with which the model ends its answer."""
        return self._answer.end

    def answer(self, content: str) -> list[int]:
        """Tokens of an answer as the model would write it after `turns`: its text, and the control token that ends the turn.

        Raises:
            BadRequest: the text holds characters that this model cannot read as plain text.
        """
        text = content.strip() if "assistant" in self._trimmed_roles else content
        return [*self._encode(self._answer.before + text + self._answer.after), self._answer.end]

    def conceal(self, value: Any) -> tuple[Any, list[str]]:
        """A value that a template may be given (strings in lists and dictionaries), in which no string holds what looks like a control
        token, and what was taken out. Render it to text and give both to `reveal`.
        """
        concealed: list[str] = []
        return self._conceal(value, concealed), concealed

    def reveal(self, rendered: str, concealed: Sequence[str]) -> list[int]:
        """Tokens of a text that a template made of what `conceal` returned."""
        return self._tokens(rendered, lambda number: concealed[number])

    def _conceal(self, value: Any, concealed: list[str]) -> Any:
        if isinstance(value, str) and self._control_pattern:
            parts = self._control_pattern.split(value)
            for position in range(1, len(parts), 2):
                concealed.append(parts[position])
                parts[position] = self._placeholder_of(len(concealed) - 1)
            return "".join(parts)
        if isinstance(value, dict):
            return {self._conceal(key, concealed): self._conceal(each, concealed) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [self._conceal(each, concealed) for each in value]
        return value

    def _placeholder_of(self, number: int) -> str:
        return f"{self._placeholder}-{number}-"

    def _render(self, turns: Sequence[Turn], answer_follows: bool) -> list[int]:
        def content(number: int) -> str:
            turn = turns[number]
            return turn.content.strip() if turn.role in self._trimmed_roles else turn.content

        placeholders = [(turn.role, self._placeholder_of(number)) for number, turn in enumerate(turns)]
        return self._tokens(self._apply(placeholders, answer_follows), content)

    def _tokens(self, rendered: str, content: Callable[[int], str]) -> list[int]:
        """Tokens of a template's words, with plain text in the places of the placeholders."""
        tokens: list[int] = []
        pending: list[str] = []
        strip_next = False
        for position, piece in enumerate(self._placeholder_pattern.split(rendered)):
            if position % 2:  # a placeholder's number
                pending.append(content(int(piece)))
                continue
            for part in self._control_pattern.split(piece) if self._control_pattern else [piece]:
                control = self._controls.get(part)
                if control is None:
                    pending.append(part)
                    continue
                text = "".join(pending)
                text = text.lstrip() if strip_next else text
                tokens += self._encode(text.rstrip() if control.strips_left else text)
                tokens.append(control.id)
                pending, strip_next = [], control.strips_right
        text = "".join(pending)
        return tokens + self._encode(text.lstrip() if strip_next else text)

    def _apply(self, turns: Sequence[tuple[str, str]], answer_follows: bool) -> str:
        conversation = [{"role": role, "content": content} for role, content in turns]
        rendered = self._tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=answer_follows)
        return str(rendered)

    def _encode(self, text: str) -> list[int]:
        """Tokens of plain text; none of them is a control token."""
        if not text:
            return []
        tokens: list[int] = self._plain.encode(text, add_special_tokens=False).ids
        if not self._control_ids.isdisjoint(tokens):
            raise BadRequest("The text holds characters that this model cannot read as plain text")
        return tokens

    def _find_opening(self) -> list[int]:
        """What the tokenizer puts before every text, such as `<s>`."""
        bare, dressed = (self._tokenizer.encode("a", add_special_tokens=special) for special in (False, True))
        start = next(index for index in range(len(dressed)) if dressed[index : index + len(bare)] == bare)
        return list(dressed[:start])

    def _find_answer(self) -> "_Answer":
        """What the template puts around an answer, after what it puts where an answer follows."""
        try:
            prompt = self._apply([("user", "a")], answer_follows=True)
            whole = self._apply([("user", "a"), ("assistant", self._placeholder)], answer_follows=False)
        except TemplateError as error:
            raise UnsupportedTokenizer("The model's chat template has no place for an answer") from error
        before, _, after = whole.partition(self._placeholder)
        text, *controls = self._control_pattern.split(after, maxsplit=1) if self._control_pattern else [after]
        return _Answer(
            before=before.removeprefix(prompt) if before.startswith(prompt) else "",
            after=text if controls else "",
            end=self._controls[controls[0]].id if controls else self._tokenizer.eos_token_id,
        )

    def _trims(self, role: Role) -> bool:
        """Whether the template cuts white space off the ends of this role's content; it cannot see it in a placeholder."""
        content = f"  {self._placeholder}  "
        conversation = (
            [(role, content)]
            if role == "user"
            else [("user", "a"), (role, content)]
            if role == "assistant"
            else [(role, content), ("user", "a")]
        )
        return content not in self._apply(conversation, answer_follows=False)

    def _check_against_ordinary(self) -> None:
        turns = [
            Turn(role="system", content="You write as Ana.\n"),
            Turn(role="user", content=" Hi!  Are you coming\n\n tonight? 🎉"),
            Turn(role="assistant", content="Yes, at 8"),
            Turn(role="user", content="Great\n"),
        ]
        ordinary = self._tokenizer.apply_chat_template(
            [{"role": turn.role, "content": turn.content} for turn in turns], tokenize=True, add_generation_prompt=True, return_dict=False
        )
        if self._render(turns, answer_follows=True) != list(ordinary):
            raise UnsupportedTokenizer("The model's chat template cannot be rendered with untrusted text kept apart")


def _without_control_tokens(tokenizer: Any) -> Any:
    """A copy of a tokenizer in which no text becomes a control token."""
    from tokenizers import Tokenizer

    description = json.loads(tokenizer.backend_tokenizer.to_str())
    contents = {token["content"] for token in description["added_tokens"]}
    description["added_tokens"] = []
    description["truncation"] = description["padding"] = description["post_processor"] = None
    vocabulary = description["model"]["vocab"]
    if isinstance(vocabulary, dict):  # a vocabulary that is a list gives ids by position; there the check in _encode must do
        description["model"]["vocab"] = {token: number for token, number in vocabulary.items() if token not in contents}
    return Tokenizer.from_str(json.dumps(description))


def _alternating(turns: Sequence[Turn]) -> Iterator[Turn]:
    """The same conversation for templates in which user and assistant must take turns, the user first."""
    last: Turn | None = None
    for turn in turns:
        if last is not None and last.role == turn.role:
            last = replace(last, content=f"{last.content}\n\n{turn.content}")
            continue
        if last is not None:
            yield last
        if turn.role == "assistant" and (last is None or last.role == "system"):
            yield Turn(role="user", content="…")
        last = turn
    if last is not None:
        yield last
