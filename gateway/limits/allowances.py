"""What one account may use, and what it is told when it wants more: docs/LIMITS.md lists it all."""

from dataclasses import dataclass

from gateway.errors import PayloadTooLarge, TooManyRequests
from gateway.limits.places import Places
from gateway.settings import Settings

_MIB = 2**20
_DRAFT_SECONDS, _QUEUE_SECONDS, _STREAM_SECONDS, _EXPORT_SECONDS = 2, 10, 5, 30
"""After which another try makes sense, as a rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowances:
    """How much of each thing an account may have; the settings of the same names say how much that is."""

    drafts: int
    """Drafts that one gateway process writes at the same time while somebody waits for them."""
    queued_drafts: int
    """Drafts that nobody waits for and that are not written yet."""
    devices: int
    """Devices that are active or can be verified now."""
    event_streams: int
    """Open WebSockets and event streams at one gateway process."""
    contact_handles: int
    """Telephone numbers and addresses of contacts, and an id for each."""
    adapters: int
    """Adapters that are there, and those that are being trained."""
    stored_mib: int
    """MiB of messages and samples."""
    training_seconds_a_day: int
    """Seconds of training within any 24 hours."""

    @classmethod
    def of(cls, settings: Settings) -> "Allowances":
        return cls(
            drafts=settings.max_drafts_per_account,
            queued_drafts=settings.max_queued_drafts_per_account,
            devices=settings.max_devices_per_account,
            event_streams=settings.max_event_streams_per_account,
            contact_handles=settings.max_contact_handles_per_account,
            adapters=settings.max_adapters_per_account,
            stored_mib=settings.max_stored_mib_per_account,
            training_seconds_a_day=settings.max_training_seconds_a_day_per_account,
        )

    def draft_places(self) -> Places:
        return Places(
            self.drafts,
            _sentence(f"{self.drafts} drafts of this account are being written", "wait for one of them, or cancel one", "MAX_DRAFTS"),
            retry_after=_DRAFT_SECONDS,
        )

    def export_places(self) -> Places:
        """One at a time, whatever the settings say: each holds a connection of the database for as long as its client reads."""
        return Places(1, "An export of this account is running; wait for its end, or break it off", retry_after=_EXPORT_SECONDS)

    def import_places(self) -> Places:
        """Ten at the same time, whatever the settings say: each keeps a processor busy."""
        return Places(10, "Ten imports of this account are running; wait for their end", retry_after=_EXPORT_SECONDS)

    def too_many_queued(self) -> TooManyRequests:
        message = _sentence(
            f"{self.queued_drafts} drafts of this account are waiting", "wait for them, or cancel some", "MAX_QUEUED_DRAFTS"
        )
        return TooManyRequests(message, retry_after=_QUEUE_SECONDS)

    def too_many_streams(self) -> TooManyRequests:
        message = _sentence(f"{self.event_streams} event streams of this account are open", "close one of them", "MAX_EVENT_STREAMS")
        return TooManyRequests(message, retry_after=_STREAM_SECONDS)

    def too_many_devices(self) -> TooManyRequests:
        return TooManyRequests(
            _sentence(
                f"This account has {self.devices} devices",
                "deactivate one that is not used any more (POST /api/devices/:id/deactivate)",
                "MAX_DEVICES",
            )
        )

    def too_many_adapters(self) -> TooManyRequests:
        return TooManyRequests(
            _sentence(
                f"This account has {self.adapters} adapters, with those that are being trained",
                "delete one that is not used any more (DELETE /api/training/adapters/:id)",
                "MAX_ADAPTERS",
            )
        )

    def too_much_stored(self) -> PayloadTooLarge:
        return PayloadTooLarge(
            _sentence(
                f"This account stores {self.stored_mib} MiB of messages and samples",
                "delete conversations (DELETE /api/conversations/:id) or samples that are not needed",
                "MAX_STORED_MIB",
            )
        )

    def too_many_handles(self) -> PayloadTooLarge:
        return PayloadTooLarge(
            _sentence(
                f"This account's contacts have {self.contact_handles} telephone numbers, addresses and ids",
                "send only the contacts that messages come from",
                "MAX_CONTACT_HANDLES",
            )
        )

    @property
    def stored_bytes(self) -> int:
        return self.stored_mib * _MIB

    def trained_too_long(self, seconds_left: int) -> TooManyRequests:
        """`seconds_left`: until some of the trainings are a day old."""
        return TooManyRequests(
            _sentence(
                f"This account has trained for {self.training_seconds_a_day} seconds within a day",
                f"start the training again in {seconds_left} seconds",
                "MAX_TRAINING_SECONDS_A_DAY",
            ),
            retry_after=seconds_left,
        )

    def training_took_too_long(self) -> str:
        """Why a training that ran was ended."""
        return (
            f"This account has trained for {self.training_seconds_a_day} seconds within a day, which is the limit; train with fewer"
            " samples or epochs, or ask the operator to raise MAX_TRAINING_SECONDS_A_DAY_PER_ACCOUNT"
        )


def _sentence(have: str, remedy: str, setting: str) -> str:
    return f"{have}, which is the limit; {remedy}, or ask the operator to raise {setting}_PER_ACCOUNT"
