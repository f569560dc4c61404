"""From conversations to prompt tokens, with message text that cannot pose as control tokens.

The template is rendered with placeholders where the contents go; control tokens are looked for only in the template's own words, and
everything else is tokenised by a copy of the tokenizer that knows none (decision 0005). Training uses this very same rendering.
"""

import json
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

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
        """Check that this tokenizer of transformers' can be rendered exactly.

        Raises:
            UnsupportedTokenizer: the tokenizers library is not behind it, it has no chat template, or its tokens would differ here.
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
