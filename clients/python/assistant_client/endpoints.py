"""Every endpoint of the API: its address, what it takes and what it answers. `calls.py` says how each is called."""

from dataclasses import dataclass, field
from types import NoneType
from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

from assistant_client.models import (
    Account,
    ActionResult,
    Adapter,
    Body,
    ContactCard,
    Conversation,
    ConversationPage,
    Device,
    DeviceRegistration,
    Draft,
    DraftDetails,
    DraftPage,
    FoundPage,
    GenerateContext,
    HistoryImport,
    ImportedHistory,
    MessageBatch,
    MessagePage,
    Pairing,
    QueuedDraft,
    ResponseStatus,
    SamplePage,
    SampleSource,
    SyncedContacts,
    SyncedMessages,
    SyncState,
    System,
    Time,
    TrainingComparison,
    TrainingJob,
    TrainingJobPage,
    TrainingStart,
)

T = TypeVar("T")

Repeat = Literal["safe", "with key", "never"]
"""What becomes of a request whose answer got lost: it can be sent again as it is; with the same Idempotency-Key; or not at all."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """An address and what goes over it.

    `result` is the field of the answer that callers get, if not all of it. `patience` is the longest silence in the middle of an answer, in
    seconds, if it is not as usual.
    """

    method: str
    path: str
    answer: Any = NoneType
    result: str | None = None
    body: Any = None
    query: type[Body] | None = None
    with_token: bool = True
    repeat: Repeat = "safe"
    patience: float | None = None


@dataclass(frozen=True, kw_only=True)
class Call(Generic[T]):
    """One request to an endpoint, which answers with a `T`."""

    endpoint: Endpoint
    ids: dict[str, UUID] = field(default_factory=dict)
    query: Body | None = None
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def path(self) -> str:
        return self.endpoint.path.format(**self.ids)


# Bodies and queries that callers do not see


class Verification(Body, frozen=True, kw_only=True):
    device_id: UUID
    code: str


class Tokens(Body, frozen=True, kw_only=True):
    token: str
    expires_at: Time
    refresh_token: str
    refresh_expires_at: Time


class Refresh(Body, frozen=True, kw_only=True):
    refresh_token: str


class DeviceList(Body, frozen=True, kw_only=True):
    devices: list[Device]


class DeviceAnswer(Body, frozen=True, kw_only=True):
    device: Device


class ContactBatch(Body, frozen=True, kw_only=True):
    contacts: list[ContactCard]
    default_region: str | None = None


class PageQuery(Body, frozen=True, kw_only=True):
    page: int = 1
    page_size: int = 20


class SamplesQuery(PageQuery, frozen=True, kw_only=True):
    source: SampleSource | None = None


class ConversationsQuery(PageQuery, frozen=True, kw_only=True):
    q: str | None = None


class MessagesQuery(Body, frozen=True, kw_only=True):
    page: int = 1
    page_size: int = 50
    before: str | None = None


class SearchQuery(PageQuery, frozen=True, kw_only=True):
    q: str
    conversation_id: UUID | None = None


class DraftsQuery(PageQuery, frozen=True, kw_only=True):
    conversation_id: UUID | None = None
    status: ResponseStatus | None = None


class EventsQuery(Body, frozen=True, kw_only=True):
    tokens: bool = False
    after: str | None = None


class GenerateBody(Body, frozen=True, kw_only=True):
    message_id: UUID
    context: GenerateContext | None = None
    n: int = 1


class Accept(Body, frozen=True, kw_only=True, tag_field="action", tag="accept"):
    candidate: int = 0


class Edit(Body, frozen=True, kw_only=True, tag_field="action", tag="edit"):
    edited_response: str
    candidate: int = 0


class Reject(Body, frozen=True, kw_only=True, tag_field="action", tag="reject"):
    rejection_reason: str | None = None
    candidate: int = 0


class TrainingJobAnswer(Body, frozen=True, kw_only=True):
    job: TrainingJob


class AdapterList(Body, frozen=True, kw_only=True):
    adapters: list[Adapter]


class AdapterAnswer(Body, frozen=True, kw_only=True):
    adapter: Adapter


class MaybeAdapterAnswer(Body, frozen=True, kw_only=True):
    adapter: Adapter | None


class AccountDeletion(Body, frozen=True, kw_only=True):
    confirm: UUID


REGISTER = Endpoint(
    method="POST", path="/api/devices/register", body=DeviceRegistration, answer=Pairing, with_token=False, repeat="with key"
)
ADD_DEVICE = Endpoint(method="POST", path="/api/devices/register", body=DeviceRegistration, answer=Pairing, repeat="with key")
VERIFY = Endpoint(method="POST", path="/api/devices/verify", body=Verification, answer=Tokens, with_token=False, repeat="with key")
REFRESH = Endpoint(method="POST", path="/api/devices/refresh", body=Refresh, answer=Tokens, with_token=False, repeat="with key")
DEVICES = Endpoint(method="GET", path="/api/devices", answer=DeviceList, result="devices")
DEACTIVATE_DEVICE = Endpoint(method="POST", path="/api/devices/{device_id}/deactivate", answer=DeviceAnswer, result="device")

SYNC_MESSAGES = Endpoint(method="POST", path="/api/sync/messages", body=MessageBatch, answer=SyncedMessages)
SYNC_CONTACTS = Endpoint(method="POST", path="/api/sync/contacts", body=ContactBatch, answer=SyncedContacts)
SYNC_STATE = Endpoint(method="GET", path="/api/sync/state", answer=SyncState)

CONVERSATIONS = Endpoint(method="GET", path="/api/conversations", query=ConversationsQuery, answer=ConversationPage)
CONVERSATION = Endpoint(method="GET", path="/api/conversations/{conversation_id}", answer=Conversation)
MESSAGES = Endpoint(method="GET", path="/api/conversations/{conversation_id}/messages", query=MessagesQuery, answer=MessagePage)
DELETE_CONVERSATION = Endpoint(method="DELETE", path="/api/conversations/{conversation_id}")
SEARCH_MESSAGES = Endpoint(method="GET", path="/api/messages/search", query=SearchQuery, answer=FoundPage)

DRAFT = Endpoint(method="POST", path="/api/responses/generate", body=GenerateBody, answer=Draft, repeat="with key")
QUEUE_DRAFT = Endpoint(method="POST", path="/api/responses/generate", body=GenerateBody, answer=QueuedDraft, repeat="with key")
STREAM_DRAFT = Endpoint(method="POST", path="/api/responses/generate", body=GenerateBody, answer=Draft, repeat="never")
DRAFT_DETAILS = Endpoint(method="GET", path="/api/responses/{response_id}", answer=DraftDetails)
DRAFTS = Endpoint(method="GET", path="/api/responses", query=DraftsQuery, answer=DraftPage)
CANCEL_DRAFT = Endpoint(method="POST", path="/api/responses/{response_id}/cancel", answer=DraftDetails)
ACT = Endpoint(method="POST", path="/api/responses/{response_id}/action", body=Accept | Edit | Reject, answer=ActionResult)

EVENTS = Endpoint(method="GET", path="/api/events/stream", query=EventsQuery, patience=60.0)  # a comment comes every 20 s

SAMPLES = Endpoint(method="GET", path="/api/training/samples", query=SamplesQuery, answer=SamplePage)
IMPORT_HISTORY = Endpoint(method="POST", path="/api/training/samples/import", body=HistoryImport, answer=ImportedHistory)
DELETE_SAMPLE = Endpoint(method="DELETE", path="/api/training/samples/{sample_id}")

START_TRAINING = Endpoint(
    method="POST", path="/api/training/start", body=TrainingStart, answer=TrainingJobAnswer, result="job", repeat="with key"
)
TRAINING_JOB = Endpoint(method="GET", path="/api/training/jobs/{job_id}", answer=TrainingJobAnswer, result="job")
TRAINING_JOBS = Endpoint(method="GET", path="/api/training/jobs", query=PageQuery, answer=TrainingJobPage)
CANCEL_TRAINING = Endpoint(method="POST", path="/api/training/jobs/{job_id}/cancel", answer=TrainingJobAnswer, result="job")
TRAINING_REPORT = Endpoint(method="GET", path="/api/training/jobs/{job_id}/report", answer=str)
TRAINING_COMPARISON = Endpoint(method="GET", path="/api/training/jobs/{job_id}/comparison", answer=TrainingComparison)

ADAPTERS = Endpoint(method="GET", path="/api/training/adapters", answer=AdapterList, result="adapters")
ACTIVATE_ADAPTER = Endpoint(method="POST", path="/api/training/adapters/{adapter_id}/activate", answer=AdapterAnswer, result="adapter")
DEACTIVATE_ADAPTER = Endpoint(method="POST", path="/api/training/adapters/deactivate", answer=MaybeAdapterAnswer, result="adapter")
DELETE_ADAPTER = Endpoint(method="DELETE", path="/api/training/adapters/{adapter_id}")

SYSTEM = Endpoint(method="GET", path="/api/system", answer=System)
ACCOUNT = Endpoint(method="GET", path="/api/account", answer=Account)
EXPORT = Endpoint(method="GET", path="/api/account/export", answer=bytes)
DELETE_ACCOUNT = Endpoint(method="DELETE", path="/api/account", body=AccountDeletion, repeat="never")
