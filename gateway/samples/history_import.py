"""Samples from the owner's own past replies."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Literal, Protocol, TypeAlias
from uuid import UUID

from gateway.conversations.history import Exchange, PastReply, exchanges, hold_threads, past_replies
from gateway.conversations.prompt import render
from gateway.database import Database, Db
from gateway.errors import BadRequest
from gateway.limits.allowances import Allowances
from gateway.samples import queries
from gateway.samples.personal_data import mask, mask_turns, says_something
from gateway.samples.queries import HistorySample
from gateway.samples.schemas import HistoryImport, ImportedHistory, SkippedReplies
from gateway.wire import utc_now
from shared.ids import new_id

HISTORY_QUALITY = 0.75
"""Less than an accepted draft: nobody looked at the reply again and called it a good one. (A number that four bytes hold exactly.)"""
_MESSAGES_AT_ONCE = 1_000
"""Messages before the replies that are looked at together, which takes tenths of a second; each may have 4,000 characters."""
_LOOKS = 5  # at threads that change all the time
_FIRST_YEAR, _LAST_YEAR = 1970, 2199
_LINK_BEGINS = ("http://", "https://", "www.")

Reason: TypeAlias = Literal["accepted_draft", "edited_draft", "answers_no_text", "links_only", "personal_data_only", "too_long"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenDraft:
    """What the owner made of a draft: took it as it was, or (`edited`) wrote `text` instead."""

    conversation_id: UUID
    text: str
    edited: bool


class KnowsDrafts(Protocol):
    """Somebody who knows what became of drafts."""

    async def chosen_drafts(self, db: Db, account_id: UUID, conversation_ids: Sequence[UUID]) -> list[ChosenDraft]: ...


@dataclass(slots=True)
class _Tally:
    imported: int = 0
    known: int = 0
    skipped: Counter[str] = field(default_factory=Counter)


class HistoryImportService:
    """Makes samples of what the owner wrote. Importing again, or twice at once, adds nothing that is there."""

    def __init__(self, database: Database, drafts: KnowsDrafts, allowances: Allowances) -> None:
        self._database = database
        self._drafts = drafts
        self._allowances = allowances
        self._places = allowances.import_places()

    async def run(self, account_id: UUID, wanted: HistoryImport) -> ImportedHistory:
        """Look through the newest replies and store those that show how the owner writes. If it breaks off, what is stored stays.

        Raises:
            NotFound: no such conversation, or another account's.
            BadRequest: `since` is no time that a message can have.
            TooManyRequests: ten imports of the account are running.
            PayloadTooLarge: the account stores as much as it may.
        """
        with self._places.taken(account_id):
            return await self._run(account_id, wanted)

    async def _run(self, account_id: UUID, wanted: HistoryImport) -> ImportedHistory:
        if wanted.since is not None and not _FIRST_YEAR <= wanted.since.year <= _LAST_YEAR:
            raise BadRequest.field("since", f"must lie in the years {_FIRST_YEAR} to {_LAST_YEAR}")
        within = timedelta(minutes=wanted.reply_within_minutes)
        async with self._database.connection() as db:
            replies = await past_replies(
                db, account_id, conversation_id=wanted.conversation_id, since=wanted.since, within=within, limit=wanted.limit
            )
        tally, now = _Tally(), utc_now()
        ids = [new_id() for _ in replies]  # taken from the end, so that in the list of samples the newest reply comes first
        size = max(1, min(100, _MESSAGES_AT_ONCE // wanted.max_history))
        for start in range(0, len(replies), size):
            batch = replies[start : start + size]
            await self._import(account_id, batch, [ids.pop() for _ in batch], tally, wanted, now)
        return ImportedHistory(imported=tally.imported, known=tally.known, skipped=SkippedReplies(**tally.skipped))

    async def _import(
        self, account_id: UUID, replies: Sequence[PastReply], ids: Sequence[UUID], tally: _Tally, wanted: HistoryImport, now: datetime
    ) -> None:
        """Store samples of these replies. They are made between two looks at the threads, so that nobody waits for it: what changed in
        between is looked at anew, and if it goes on changing, by the next import.
        """
        for _ in range(_LOOKS):
            async with self._database.connection() as db:
                await self._allowances.check_stored(db, account_id, growth=1)
                there = await queries.known_replies(db, account_id, [reply.id for reply in replies])
                new = {reply.id: sample_id for reply, sample_id in zip(replies, ids, strict=True) if reply.id not in there}
                found = await exchanges(db, account_id, [reply for reply in replies if reply.id in new], wanted.max_history)
                # A message may have come in before the one that a reply began with at the last import.
                begun = await queries.known_replies(db, account_id, [line.id for exchange in found for line in exchange.said])
                found, known = _apart(found, begun)
                drafts: defaultdict[UUID, list[ChosenDraft]] = defaultdict(list)
                threads = list({exchange.reply.conversation_id for exchange in found})
                for draft in await self._drafts.chosen_drafts(db, account_id, threads):
                    drafts[draft.conversation_id].append(draft)
            samples, skipped = await asyncio.to_thread(_samples, found, new, drafts, masked=wanted.mask_personal_data)
            async with self._database.transaction() as db:
                await hold_threads(db, account_id, threads)
                if await exchanges(db, account_id, [exchange.reply for exchange in found], wanted.max_history) != found:
                    continue
                added = await queries.add_history(db, account_id, samples, HISTORY_QUALITY, now)
            tally.imported += added
            tally.known += len(there) + known + len(samples) - added
            tally.skipped.update(skipped)
            return


def _apart(found: Sequence[Exchange], begun: Set[UUID]) -> tuple[list[Exchange], int]:
    """The replies that begin with none of these messages, and how many others there are."""
    new = [exchange for exchange in found if begun.isdisjoint(line.id for line in exchange.said)]
    return new, len(found) - len(new)


def _samples(
    found: Sequence[Exchange], ids: Mapping[UUID, UUID], drafts: Mapping[UUID, Sequence[ChosenDraft]], *, masked: bool
) -> tuple[list[HistorySample], Counter[str]]:
    """What is worth learning, and how many replies are not, by reason."""
    samples: list[HistorySample] = []
    skipped: Counter[str] = Counter()
    chosen: dict[UUID, dict[str, bool]] = {}
    remembering = lru_cache(maxsize=1_000)(mask)  # a message is in the prompts of the next ten, too
    for exchange in found:
        thread = exchange.reply.conversation_id
        if thread not in chosen:
            chosen[thread] = {_words(draft.text): draft.edited for draft in drafts[thread]}
        reason = _reason_against(exchange, chosen[thread])
        if reason is None:
            sample = _sample(exchange, ids[exchange.reply.id], remembering if masked else _as_it_is)
            reason = None if says_something(sample.output) else "personal_data_only"
        if reason is None:
            samples.append(sample)
        else:
            skipped[reason] += 1
    return samples, skipped


def _reason_against(exchange: Exchange, chosen: Mapping[str, bool]) -> Reason | None:
    """Why a reply is no example of how the owner answers, if it is none."""
    if exchange.too_long:
        return "too_long"
    if not exchange.answerable:
        return "answers_no_text"
    if all(word.lower().startswith(_LINK_BEGINS) for word in exchange.text.split()):
        return "links_only"
    for text in (exchange.text, *(line.content for line in exchange.said)):
        if (edited := chosen.get(_words(text))) is not None:
            return "edited_draft" if edited else "accepted_draft"
    return None


def _sample(exchange: Exchange, sample_id: UUID, mask: Callable[[str, str], str]) -> HistorySample:
    prompt = render(exchange.thread, exchange.lines, include_contact_info=True)
    return HistorySample(
        id=sample_id,
        conversation_id=exchange.reply.conversation_id,
        messages=mask_turns(prompt.turns, mask),
        message_ids=[*prompt.message_ids, *(line.id for line in exchange.said)],
        answered_id=exchange.reply.answered_id,
        reply_id=exchange.reply.id,
        output=mask(exchange.text, prompt.turns[-1].content),
        replied_at=exchange.reply.sent_at,
    )


def _as_it_is(text: str, _: str) -> str:
    return text


def _words(text: str) -> str:
    return " ".join(text.split())
