"""What drafts have in common, whether somebody waits for them or not."""

from gateway.conversations.prompt import Prompt
from gateway.conversations.service import DraftContext
from gateway.errors import BadRequest, Unavailable
from gateway.responses.schemas import Candidate
from gateway.wire import storable
from shared.contracts.generation import Candidate as GeneratedCandidate


def check_answerable(start: DraftContext, *, begun: bool) -> None:
    """See that there is something to answer.

    Args:
        begun: whether the draft's thread was found and is held.

    Raises:
        BadRequest: there is not.
        Unavailable: the message came, came to be answerable, or moved to another thread between the two statements.
    """
    if start.direction != "incoming":
        raise BadRequest.field("messageId", "this is a message of your own; choose one that you received")
    if start.retracted:
        raise BadRequest.field("messageId", "this message was retracted; choose another one")
    if start.message_type not in ("text", "attachment") or not start.has_text:
        raise BadRequest.field("messageId", "this message has no text to answer, or one that a phone wrote by itself; choose another one")
    if not begun:
        raise Unavailable("This conversation is just being changed; try again in a moment", retry_after=1)


def without_oldest(prompt: Prompt, count: int) -> Prompt:
    """What the model read of a prompt whose oldest turns did not fit: system turns always stay."""
    read = Prompt()
    for turn, message_ids in zip(prompt.turns, prompt.turn_message_ids, strict=True):
        if turn.role != "system" and count > 0:
            count -= 1
        else:
            read.turns.append(turn)
            read.turn_message_ids.append(message_ids)
    return read


def public_candidate(candidate: GeneratedCandidate) -> Candidate:
    return Candidate(
        text=storable(candidate.text),
        confidence=public_confidence(candidate.confidence),
        tokens_used=candidate.tokens_used,
        finish_reason=candidate.finish_reason,
    )


def public_confidence(confidence: float) -> float:
    return round(confidence, 4)
