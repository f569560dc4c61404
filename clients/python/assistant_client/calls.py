"""What can be asked of the gateway, each described once: `Client` and `AsyncClient` have a method for each of these."""

from collections.abc import Sequence
from uuid import UUID

from assistant_client import endpoints
from assistant_client.endpoints import Call
from assistant_client.models import (
    Account,
    ActionResult,
    Adapter,
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
    TrainingComparison,
    TrainingJob,
    TrainingJobPage,
    TrainingStart,
)

_STREAM = {"Accept": "text/event-stream"}
_FRESH = {"Cache-Control": "no-cache"}
_QUEUED = {"Prefer": "respond-async"}


def devices() -> Call[list[Device]]:
    """All devices of the account, oldest first."""
    return Call(endpoint=endpoints.DEVICES)


def add_device(registration: DeviceRegistration) -> Call[Pairing]:
    """Announce another device of this account: `pair` it with the id and the code."""
    return Call(endpoint=endpoints.ADD_DEVICE, body=registration)


def deactivate_device(device_id: UUID) -> Call[Device]:
    """Shut a device out, at once; also this one."""
    return Call(endpoint=endpoints.DEACTIVATE_DEVICE, ids={"device_id": device_id})


def sync_messages(batch: MessageBatch) -> Call[SyncedMessages]:
    """Store messages of a thread; sending them again changes nothing. When this returns they are stored."""
    return Call(endpoint=endpoints.SYNC_MESSAGES, body=batch)


def sync_contacts(cards: Sequence[ContactCard], default_region: str | None = None) -> Call[SyncedContacts]:
    """Store up to 1,000 contacts. Numbers without a country code are of `default_region`, such as `US`."""
    return Call(endpoint=endpoints.SYNC_CONTACTS, body=endpoints.ContactBatch(contacts=list(cards), default_region=default_region))


def sync_state() -> Call[SyncState]:
    """Where each thread stands, by each of its identifiers, latest first."""
    return Call(endpoint=endpoints.SYNC_STATE)


def conversations(q: str | None = None, *, page: int = 1, page_size: int = 20) -> Call[ConversationPage]:
    """A page of threads, latest first; `q` looks for words in their names and their people's. Up to 100 a page."""
    return Call(endpoint=endpoints.CONVERSATIONS, query=endpoints.ConversationsQuery(q=q, page=page, page_size=page_size))


def conversation(conversation_id: UUID) -> Call[Conversation]:
    """A thread. The id of one that has become part of another finds that one."""
    return Call(endpoint=endpoints.CONVERSATION, ids={"conversation_id": conversation_id})


def messages(conversation_id: UUID, *, before: str | None = None, page: int = 1, page_size: int = 50) -> Call[MessagePage]:
    """A page of a thread, newest first; `before` is another page's `next_cursor`. Up to 200 a page."""
    query = endpoints.MessagesQuery(page=page, page_size=page_size, before=before)
    return Call(endpoint=endpoints.MESSAGES, ids={"conversation_id": conversation_id}, query=query)


def search_messages(q: str, conversation_id: UUID | None = None, *, page: int = 1, page_size: int = 20) -> Call[FoundPage]:
    """Messages that have all the words, newest first; `"a phrase"`, `or` and `-not` work."""
    query = endpoints.SearchQuery(q=q, conversation_id=conversation_id, page=page, page_size=page_size)
    return Call(endpoint=endpoints.SEARCH_MESSAGES, query=query)


def delete_conversation(conversation_id: UUID) -> Call[None]:
    """Delete a thread with its messages, drafts and samples."""
    return Call(endpoint=endpoints.DELETE_CONVERSATION, ids={"conversation_id": conversation_id})


def draft(message_id: UUID, context: GenerateContext | None = None, *, n: int = 1, fresh: bool = False) -> Call[Draft]:
    """Draft a reply to an incoming message, and wait for it; `n` up to 4 of them. `fresh`: not one that was made before."""
    return Call(endpoint=endpoints.DRAFT, body=_generate(message_id, context, n), headers=_FRESH if fresh else {})


def queue_draft(message_id: UUID, context: GenerateContext | None = None, *, n: int = 1, fresh: bool = False) -> Call[QueuedDraft]:
    """Have a draft written when its turn comes, whatever breaks down meanwhile: `draft_details` and events tell of it."""
    headers = _QUEUED | _FRESH if fresh else _QUEUED
    return Call(endpoint=endpoints.QUEUE_DRAFT, body=_generate(message_id, context, n), headers=headers)


def stream_draft(message_id: UUID, context: GenerateContext | None = None, *, n: int = 1, fresh: bool = False) -> Call[Draft]:
    """As `draft`, as server-sent events."""
    headers = _STREAM | _FRESH if fresh else _STREAM
    return Call(endpoint=endpoints.STREAM_DRAFT, body=_generate(message_id, context, n), headers=headers)


def _generate(message_id: UUID, context: GenerateContext | None, n: int) -> endpoints.GenerateBody:
    return endpoints.GenerateBody(message_id=message_id, context=context, n=n)


def draft_details(response_id: UUID) -> Call[DraftDetails]:
    """A draft in whatever state it is, and what was done with it."""
    return Call(endpoint=endpoints.DRAFT_DETAILS, ids={"response_id": response_id})


def drafts(
    conversation_id: UUID | None = None, status: ResponseStatus | None = None, *, page: int = 1, page_size: int = 20
) -> Call[DraftPage]:
    """A page of drafts, newest first. Up to 100 a page."""
    query = endpoints.DraftsQuery(conversation_id=conversation_id, status=status, page=page, page_size=page_size)
    return Call(endpoint=endpoints.DRAFTS, query=query)


def cancel_draft(response_id: UUID) -> Call[DraftDetails]:
    """Stop a draft, whichever device asked for it. Conflict if it has ended."""
    return Call(endpoint=endpoints.CANCEL_DRAFT, ids={"response_id": response_id})


def accept(response_id: UUID, *, candidate: int = 0) -> Call[ActionResult]:
    """The draft is what the owner would have said. Conflict if something else was done with it."""
    return Call(endpoint=endpoints.ACT, ids={"response_id": response_id}, body=endpoints.Accept(candidate=candidate))


def edit(response_id: UUID, text: str, *, candidate: int = 0) -> Call[ActionResult]:
    """The owner says `text` instead."""
    body = endpoints.Edit(edited_response=text, candidate=candidate)
    return Call(endpoint=endpoints.ACT, ids={"response_id": response_id}, body=body)


def reject(response_id: UUID, reason: str | None = None, *, candidate: int = 0) -> Call[ActionResult]:
    """The draft is nothing that the owner would say."""
    body = endpoints.Reject(rejection_reason=reason, candidate=candidate)
    return Call(endpoint=endpoints.ACT, ids={"response_id": response_id}, body=body)


def events(after: str | None = None, *, tokens: bool = False) -> Call[None]:
    """What happens in the account, as server-sent events."""
    return Call(endpoint=endpoints.EVENTS, query=endpoints.EventsQuery(tokens=tokens, after=after), headers=_STREAM)


def samples(source: SampleSource | None = None, *, page: int = 1, page_size: int = 20) -> Call[SamplePage]:
    """A page of what there is to learn from, newest first; with `source` only what came so. Up to 100 a page."""
    return Call(endpoint=endpoints.SAMPLES, query=endpoints.SamplesQuery(source=source, page=page, page_size=page_size))


def import_history(history: HistoryImport | None = None) -> Call[ImportedHistory]:
    """Make samples of the owner's own past replies; again, it adds only what is new. With `preview` it only says what it would do."""
    return Call(endpoint=endpoints.IMPORT_HISTORY, body=history or HistoryImport())


def delete_sample(sample_id: UUID) -> Call[None]:
    """Learn from it no more. Adapters that did say `stale`."""
    return Call(endpoint=endpoints.DELETE_SAMPLE, ids={"sample_id": sample_id})


def start_training(training: TrainingStart) -> Call[TrainingJob]:
    """Train a personal adapter in the background. Conflict while this device has a training that has not ended."""
    return Call(endpoint=endpoints.START_TRAINING, body=training)


def training_job(job_id: UUID) -> Call[TrainingJob]:
    """How far a training is, and what came of it."""
    return Call(endpoint=endpoints.TRAINING_JOB, ids={"job_id": job_id})


def training_jobs(*, page: int = 1, page_size: int = 20) -> Call[TrainingJobPage]:
    """A page of the account's trainings, newest first. Up to 100 a page."""
    return Call(endpoint=endpoints.TRAINING_JOBS, query=endpoints.PageQuery(page=page, page_size=page_size))


def cancel_training(job_id: UUID) -> Call[TrainingJob]:
    """Stop a training. Conflict if it has ended."""
    return Call(endpoint=endpoints.CANCEL_TRAINING, ids={"job_id": job_id})


def training_report(job_id: UUID) -> Call[str]:
    """A training's report: one HTML page, with text of people in it."""
    return Call(endpoint=endpoints.TRAINING_REPORT, ids={"job_id": job_id})


def training_comparison(job_id: UUID) -> Call[TrainingComparison]:
    """Drafts of held-out messages before and after a training, with text of people in them."""
    return Call(endpoint=endpoints.TRAINING_COMPARISON, ids={"job_id": job_id})


def adapters() -> Call[list[Adapter]]:
    """All that the account has trained, newest first."""
    return Call(endpoint=endpoints.ADAPTERS)


def activate_adapter(adapter_id: UUID) -> Call[Adapter]:
    """Write drafts with this adapter, whatever its figures say; also the way back to an older one."""
    return Call(endpoint=endpoints.ACTIVATE_ADAPTER, ids={"adapter_id": adapter_id})


def deactivate_adapter() -> Call[Adapter | None]:
    """Write drafts with the base model; returns the adapter that was active."""
    return Call(endpoint=endpoints.DEACTIVATE_ADAPTER)


def delete_adapter(adapter_id: UUID) -> Call[None]:
    """Delete an adapter with its files, for good."""
    return Call(endpoint=endpoints.DELETE_ADAPTER, ids={"adapter_id": adapter_id})


def system() -> Call[System]:
    """What runs: the model, the engine, the servers, and how many drafts wait."""
    return Call(endpoint=endpoints.SYSTEM)


def account() -> Call[Account]:
    """The account's id, and how much is in it."""
    return Call(endpoint=endpoints.ACCOUNT)


def export() -> Call[bytes]:
    """All data of the account, as a zip of NDJSON files."""
    return Call(endpoint=endpoints.EXPORT)


def delete_account(account_id: UUID) -> Call[None]:
    """Delete the account and all of its data, at once and for good. `account_id` is asked for so that nobody does it by mistake."""
    return Call(endpoint=endpoints.DELETE_ACCOUNT, body=endpoints.AccountDeletion(confirm=account_id))
