"""What one account may use, and what it is told when it wants more: docs/LIMITS.md lists it all."""

from typing import Final, Literal, NamedTuple
from uuid import UUID

from gateway.database import Db
from gateway.limits import queries
from gateway.limits.places import Places
from gateway.settings import Settings
from shared.errors import AppError, PayloadTooLarge, TooManyRequests

_MIB: Final = 2**20
_EXPORT_SECONDS: Final = 30

Limited = Literal[
    "drafts", "queued_drafts", "devices", "event_streams", "contact_handles", "adapters", "stored_mib", "training_seconds_a_day"
]
"""What is limited, as the settings are called."""


class _Refusal(NamedTuple):
    """What is said at the limit; another try makes sense after `retry_after` seconds, as a rule."""

    have: str
    """With the limit in it."""
    remedy: str
    """With `retry_after` in it, where that matters."""
    error: type[AppError] = TooManyRequests
    retry_after: int | None = None


_REFUSALS: Final[dict[Limited, _Refusal]] = {
    "drafts": _Refusal("{} drafts of this account are being written", "wait for one of them, or cancel one", retry_after=2),
    "queued_drafts": _Refusal("{} drafts of this account are waiting", "wait for them, or cancel some", retry_after=10),
    "event_streams": _Refusal("{} event streams of this account are open", "close one of them", retry_after=5),
    "devices": _Refusal("This account has {} devices", "deactivate one that is not used any more (POST /api/devices/:id/deactivate)"),
    "adapters": _Refusal(
        "This account has {} adapters, with those that are being trained",
        "delete one that is not used any more (DELETE /api/training/adapters/:id)",
    ),
    "training_seconds_a_day": _Refusal("This account has trained for {} seconds within a day", "start the training again in {} seconds"),
    "stored_mib": _Refusal(
        "This account stores {} MiB of messages and samples",
        "delete conversations (DELETE /api/conversations/:id) or samples that are not needed",
        PayloadTooLarge,
    ),
    "contact_handles": _Refusal(
        "This account's contacts have {} telephone numbers, addresses and ids",
        "send only the contacts that messages come from",
        PayloadTooLarge,
    ),
}


class Allowances:
    """How much of each thing an account may have, as the settings say."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def __getitem__(self, limited: Limited) -> int:
        most: int = getattr(self._settings, _setting(limited))
        return most

    async def check_stored(self, db: Db, account_id: UUID, growth: int = 0) -> None:
        """For whoever has just stored messages or samples, or will in a moment (`growth`: at least so many bytes).

        Raises:
            PayloadTooLarge: the account stores more than it may.
        """
        if await queries.stored_bytes(db, account_id) + growth > self["stored_mib"] * _MIB:
            raise self.refusal("stored_mib")

    def refusal(self, limited: Limited, *, retry_after: int | None = None) -> AppError:
        """What an account is told that wants more; `retry_after` where it is known better than as a rule."""
        refusal = _REFUSALS[limited]
        have, remedy = refusal.have.format(self[limited]), refusal.remedy.format(retry_after)
        message = f"{have}, which is the limit; {remedy}, or ask the operator to raise {_setting(limited).upper()}"
        return refusal.error(message, retry_after=retry_after or refusal.retry_after)

    def draft_places(self) -> Places:
        return Places(self["drafts"], lambda: self.refusal("drafts"))

    def export_places(self) -> Places:
        """One at a time, whatever the settings say: each holds a connection of the database for as long as its client reads."""
        message = "An export of this account is running; wait for its end, or break it off"
        return Places(1, lambda: TooManyRequests(message, retry_after=_EXPORT_SECONDS))

    def import_places(self) -> Places:
        """Ten at the same time, whatever the settings say: each keeps a processor busy."""
        message = "Ten imports of this account are running; wait for their end"
        return Places(10, lambda: TooManyRequests(message, retry_after=_EXPORT_SECONDS))

    def training_took_too_long(self) -> str:
        """The error of a training that was ended while it ran."""
        return (
            f"This account has trained for {self['training_seconds_a_day']} seconds within a day, which is the limit; train with fewer"
            " samples or epochs, or ask the operator to raise MAX_TRAINING_SECONDS_A_DAY_PER_ACCOUNT"
        )


def _setting(limited: Limited) -> str:
    return f"max_{limited}_per_account"
