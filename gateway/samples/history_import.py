"""Samples from the owner's own past replies."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Literal, TypeAlias
from uuid import UUID

from gateway.conversations.history import Exchange, PastReply, exchanges, hold_threads, past_replies
from gateway.conversations.prompt import render
from gateway.database import Database, Db
from gateway.limits.allowances import Allowances
from gateway.samples import queries
from gateway.samples.personal_data import mask, mask_turns, says_something
from gateway.samples.queries import SampleRow
from gateway.samples.schemas import HistoryImport, ImportedHistory, SampleExample, SkippedReplies
from gateway.wire import utc_now
from shared.errors import BadRequest
from shared.ids import new_id

HISTORY_QUALITY = 0.75
"""Less than an accepted draft: nobody looked at the reply again and called it a good one. (A number that four bytes hold exactly.)"""
_MESSAGES_AT_ONCE = 1_000
"""Messages before the replies that are looked at together, which takes tenths of a second; each may have 4,000 characters."""
_EXAMPLES = 3
"""Of a preview."""
_ATTEMPTS = 5  # while a thread changes all the time
_FIRST_YEAR, _LAST_YEAR = 1970, 2199
_LINK_BEGINS = ("http://", "https://", "www.")

Reason: TypeAlias = Literal["accepted_draft", "edited_draft", "answers_no_text", "links_only", "personal_data_only", "too_long"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenDraft:
    """What the owner made of a draft: took it as it was, or (`edited`) wrote `text` instead."""

    conversation_id: UUID
    text: str
    edited: bool


ChosenDrafts: TypeAlias = Callable[[Db, UUID, Sequence[UUID]], Awaitable[list[ChosenDraft]]]
"""What an account's owner made of the drafts of these conversations."""


class HistoryImportService:
    """Makes samples of what the owner wrote. Importing again, or twice at once, adds nothing that is there."""

    def __init__(self, database: Database, chosen_drafts: ChosenDrafts, allowances: Allowances) -> None:
        self._database = database
        self._chosen_drafts = chosen_drafts
        self._allowances = allowances
        self._places = allowances.import_places()

    async def run(self, account_id: UUID, wanted: HistoryImport) -> ImportedHistory:
        """Look through the newest replies and store those that show how the owner writes; a preview stores none. If it breaks off, what is
        stored stays.

        Raises:
            NotFound: no such conversation, or another account's.
            BadRequest: `since` is no time that a message can have.
            TooManyRequests: ten imports of the account are running.
            PayloadTooLarge: the account stores as much as it may.
        """
        if wanted.since is not None and not _FIRST_YEAR <= wanted.since.year <= _LAST_YEAR:
            raise BadRequest.field("since", f"must lie in the years {_FIRST_YEAR} to {_LAST_YEAR}")
        within = timedelta(minutes=wanted.reply_within_minutes)
        with self._places.taken(account_id):
            async with self._database.connection() as db:
                replies = await past_replies(
                    db, account_id, conversation_id=wanted.conversation_id, since=wanted.since, within=within, limit=wanted.limit
                )
            ids = {reply.id: new_id() for reply in reversed(replies)}  # in the list of samples the newest reply comes first
            outcomes: Counter[str] = Counter()
            examples: list[SampleExample] = []
            now = utc_now()
            size = max(1, min(100, _MESSAGES_AT_ONCE // wanted.max_history))
            for start in range(0, len(replies), size):
                became, samples = await self._import(account_id, replies[start : start + size], ids, wanted, now)
                outcomes += became
                if wanted.preview:
                    examples += map(_example, samples[: _EXAMPLES - len(examples)])
        imported, known = outcomes.pop("imported", 0), outcomes.pop("known", 0)
        return ImportedHistory(imported=imported, known=known, skipped=SkippedReplies(**outcomes), examples=examples)

    async def _import(
        self, account_id: UUID, replies: Sequence[PastReply], ids: Mapping[UUID, UUID], wanted: HistoryImport, now: datetime
    ) -> tuple[Counter[str], Sequence[SampleRow]]:
        """Store samples of these replies, under `ids` by reply. They are made between two looks at the threads, so that nobody waits for
        it: what changed in between is looked at anew, and if it goes on changing, by the next import.

        Returns:
            How many replies were `imported` (of a preview: would be) or `known`, and how many were not, by reason; and their samples.
        """
        for _ in range(_ATTEMPTS):
            async with self._database.connection() as db:
                await self._allowances.check_stored(db, account_id, growth=1)
                there = await queries.known_replies(db, account_id, [reply.id for reply in replies])
                found = await exchanges(db, account_id, [reply for reply in replies if reply.id not in there], wanted.max_history)
                # A message may have come in before the one that a reply began with at the last import.
                begun = await queries.known_replies(db, account_id, [line.id for exchange in found for line in exchange.said])
                new = [exchange for exchange in found if begun.isdisjoint(line.id for line in exchange.said)]
                threads = list({exchange.reply.conversation_id for exchange in new})
                drafts = await self._chosen_drafts(db, account_id, threads)
            samples, outcomes = await asyncio.to_thread(_samples, new, ids, drafts, masked=wanted.mask_personal_data)
            if wanted.preview:
                added = len(samples)
            else:
                async with self._database.transaction() as db:
                    await hold_threads(db, account_id, threads)
                    if await exchanges(db, account_id, [exchange.reply for exchange in new], wanted.max_history) != new:
                        continue
                    added = await queries.add(db, account_id, samples, now)
            outcomes["imported"] = added
            outcomes["known"] = len(there) + len(found) - len(new) + len(samples) - added
            return outcomes, samples
        return Counter(), []


def _samples(
    found: Sequence[Exchange], ids: Mapping[UUID, UUID], drafts: Sequence[ChosenDraft], *, masked: bool
) -> tuple[list[SampleRow], Counter[str]]:
    """What is worth learning, and how many replies are not, by reason."""
    samples: list[SampleRow] = []
    skipped: Counter[str] = Counter()
    chosen = {(draft.conversation_id, _words(draft.text)): draft.edited for draft in drafts}
    # A message is in the prompts of the next ten, too: 2,500 replies take 0.21 s instead of 0.35.
    remembering = lru_cache(maxsize=1_000)(mask)
    for exchange in found:
        reason = _reason_against(exchange, chosen)
        if reason is None:
            sample = _sample(exchange, ids[exchange.reply.id], remembering if masked else _as_it_is)
            reason = None if says_something(sample.output or "") else "personal_data_only"
        if reason is None:
            samples.append(sample)
        else:
            skipped[reason] += 1
    return samples, skipped


def _reason_against(exchange: Exchange, chosen: Mapping[tuple[UUID, str], bool]) -> Reason | None:
    """Why a reply is no example of how the owner answers, if it is none. `chosen`: by thread and words, whether a draft was edited."""
    if exchange.too_long:
        return "too_long"
    if not exchange.answerable:
        return "answers_no_text"
    if all(word.lower().startswith(_LINK_BEGINS) for word in exchange.text.split()):
        return "links_only"
    for text in (exchange.text, *(line.content for line in exchange.said)):
        if (edited := chosen.get((exchange.reply.conversation_id, _words(text)))) is not None:
            return "edited_draft" if edited else "accepted_draft"
    return None


def _sample(exchange: Exchange, sample_id: UUID, mask: Callable[[str, str], str]) -> SampleRow:
    prompt = render(exchange.thread, exchange.lines, include_contact_info=True)
    return SampleRow(
        id=sample_id,
        source="history",
        conversation_id=exchange.reply.conversation_id,
        messages=mask_turns(prompt.turns, mask),
        message_ids=[*prompt.message_ids, *(line.id for line in exchange.said)],
        answered_id=exchange.reply.answered_id,
        reply_id=exchange.reply.id,
        output=mask(exchange.text, prompt.turns[-1].content),
        quality=HISTORY_QUALITY,
        replied_at=exchange.reply.sent_at,
    )


def _example(sample: SampleRow) -> SampleExample:
    return SampleExample(input=sample.messages[-1].content, output=sample.output or "")


def _as_it_is(text: str, _: str) -> str:
    return text


def _words(text: str) -> str:
    return " ".join(text.split())
