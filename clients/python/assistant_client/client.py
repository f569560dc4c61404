"""The client for ordinary programs; `async_client.py` has the same for programs with an event loop."""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar
from uuid import UUID

import httpx

from assistant_client import calls
from assistant_client.described import describe_as
from assistant_client.download import Download
from assistant_client.endpoints import Call
from assistant_client.errors import AssistantError, TooManyRequests, Unavailable, Unreachable, translated
from assistant_client.exchange import Exchange, Flow, Retries, Send, Step
from assistant_client.models import Conversation, Draft, DraftToken, Event, GenerateContext, Message
from assistant_client.sse import EventParser, ServerSentEvent
from assistant_client.storage import Credentials, FileStore, TokenStore
from assistant_client.streams import Place, broken_off, draft_part

P = ParamSpec("P")
T = TypeVar("T")


def _blocking(describe: Callable[P, Call[T]]) -> "Callable[Concatenate[Client, P], T]":
    """A method that makes the call and returns its answer."""

    def method(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.send(describe(*args, **kwargs))

    describe_as(method, describe)
    return method


class Client:
    """One device's access to one gateway. Every method may raise an `AssistantError` (`errors.py`).

    Threads may share a client. Nothing is sent before the first call.
    """

    def __init__(
        self,
        url: str | None = None,
        store: TokenStore | None = None,
        *,
        retries: Retries | None = None,
        timeout: float = 180.0,
        on_wait: Callable[[AssistantError, float], None] | None = None,
    ) -> None:
        """A client of the gateway at `url`, by default of the one that the device in `store` is paired with.

        Args:
            store: where the tokens are, by default a file of this user's that `assistant pair` writes, too.
            retries: how often what failed for now is tried.
            timeout: the longest silence before an answer or in the middle of one, in seconds.
            on_wait: is told of an error and after how many seconds it is tried again.
        """
        self._exchange = Exchange(url, store or FileStore(), retries or Retries())
        self._on_wait = on_wait
        self._timeout = timeout
        # The gateway closes idle connections after 5 s; what is sent just then gets lost.
        self._http = httpx.Client(base_url=self.url, limits=httpx.Limits(keepalive_expiry=2.0))

    @property
    def url(self) -> str:
        return self._exchange.url

    @property
    def paired_with(self) -> str | None:
        """The gateway that the device in the store is paired with, if it is with any."""
        return self._exchange.paired_with()

    @property
    def credentials(self) -> Credentials:
        """Which device of which account this is; raises `NotPaired` if it is none."""
        return self._exchange.credentials()

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def pair(self, name: str | None = None, *, device_id: UUID | None = None, code: str | None = None) -> Credentials:
        """Pair this device and keep its tokens: with an id and a code from another device or the operator, or else with a new account.

        Raises:
            Forbidden: new accounts are closed here, so an id and a code are needed.
            Unauthorized: the code is wrong or has expired.
        """
        return self._run(self._exchange.pair(name, device_id, code))

    def send(self, call: Call[T]) -> T:
        """Make a call of `calls.py`."""
        return self._run(self._exchange.answer(call))

    devices = _blocking(calls.devices)
    add_device = _blocking(calls.add_device)
    deactivate_device = _blocking(calls.deactivate_device)
    sync_messages = _blocking(calls.sync_messages)
    sync_contacts = _blocking(calls.sync_contacts)
    sync_state = _blocking(calls.sync_state)
    conversations = _blocking(calls.conversations)
    conversation = _blocking(calls.conversation)
    messages = _blocking(calls.messages)
    search_messages = _blocking(calls.search_messages)
    delete_conversation = _blocking(calls.delete_conversation)
    draft = _blocking(calls.draft)
    queue_draft = _blocking(calls.queue_draft)
    draft_details = _blocking(calls.draft_details)
    drafts = _blocking(calls.drafts)
    cancel_draft = _blocking(calls.cancel_draft)
    accept = _blocking(calls.accept)
    edit = _blocking(calls.edit)
    reject = _blocking(calls.reject)
    samples = _blocking(calls.samples)
    import_history = _blocking(calls.import_history)
    delete_sample = _blocking(calls.delete_sample)
    start_training = _blocking(calls.start_training)
    training_job = _blocking(calls.training_job)
    training_jobs = _blocking(calls.training_jobs)
    cancel_training = _blocking(calls.cancel_training)
    training_report = _blocking(calls.training_report)
    training_comparison = _blocking(calls.training_comparison)
    adapters = _blocking(calls.adapters)
    activate_adapter = _blocking(calls.activate_adapter)
    deactivate_adapter = _blocking(calls.deactivate_adapter)
    delete_adapter = _blocking(calls.delete_adapter)
    system = _blocking(calls.system)
    account = _blocking(calls.account)
    delete_account = _blocking(calls.delete_account)

    def all_conversations(self, q: str | None = None) -> Iterator[Conversation]:
        """All threads, latest first, page by page. One that moves meanwhile is not shown twice."""
        seen = set[UUID]()
        for number in count(1):
            page = self.conversations(q, page=number, page_size=100)
            for conversation in page.conversations:
                if conversation.id not in seen:
                    seen.add(conversation.id)
                    yield conversation
            if number * page.page_size >= page.total:
                return

    def all_messages(self, conversation_id: UUID) -> Iterator[Message]:
        """All messages of a thread, newest first, page by page. What comes in meanwhile moves nothing."""
        cursor: str | None = None
        while True:
            page = self.messages(conversation_id, before=cursor, page_size=200)
            yield from page.messages
            cursor = page.next_cursor
            if cursor is None:
                return

    def stream_draft(
        self, message_id: UUID, context: GenerateContext | None = None, *, n: int = 1, fresh: bool = False
    ) -> Generator[DraftToken | Draft, None, None]:
        """Draft a reply and yield its pieces as they are written, and last the `Draft`. Closing the generator stops the model.

        Raises:
            Refused: the draft failed.
            Unreachable: it was broken off.
        """
        with self._opened(calls.stream_draft(message_id, context, n=n, fresh=fresh)) as response:
            for sent in self._sent_events(response):
                part = draft_part(sent)
                yield part
                if isinstance(part, Draft):
                    return
        raise broken_off()

    def events(self, after: str | None = None, *, tokens: bool = False) -> Generator[Event, None, None]:
        """What happens in the account from now on, or after the event with this id; `tokens`: also the pieces of drafts.

        It goes on for ever: after a break it comes back and yields what was missed, each event once and in order. If that is not known any
        more, an event `replay:incomplete` says so: look again at what matters.

        Raises:
            NotPaired: the tokens are not good any more.
            Forbidden: the device was deactivated.
        """
        place = Place(after, tokens=tokens)
        while True:
            problem: AssistantError | None = None
            try:
                with self._opened(place.call()) as response:
                    for sent in self._sent_events(response):
                        if (event := place.take(sent)) is not None:
                            yield event
            except (Unreachable, Unavailable, TooManyRequests) as error:
                problem = error
            self._take(place.pause(problem))

    def export(self, path: Path, on_bytes: Callable[[int], None] | None = None) -> None:
        """Write all data of the account to a file, as a zip of NDJSON files. `on_bytes` is told how many bytes there are so far."""
        with self._opened(calls.export()) as response, Download(path, on_bytes) as file, translated(self.url):
            for chunk in response.iter_bytes():
                file.write(chunk)

    @contextmanager
    def _opened(self, call: Call[Any]) -> Iterator[httpx.Response]:
        response = self._run(self._exchange.opened(call))
        try:
            yield response
        finally:
            response.close()

    def _sent_events(self, response: httpx.Response) -> Iterator[ServerSentEvent]:
        parser = EventParser()
        with translated(self.url):
            for chunk in response.iter_bytes():
                yield from parser.feed(chunk)

    def _run(self, flow: Flow[T]) -> T:
        """Do what a flow asks for until it has its result."""
        try:
            step = next(flow)
            while True:
                try:
                    came = self._take(step)
                except Unreachable as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(came)
        except StopIteration as done:
            result: T = done.value
            return result
        finally:
            flow.close()

    def _take(self, step: Step) -> httpx.Response | None:
        if isinstance(step, Send):
            return self._send(step)
        if step.because is not None and self._on_wait is not None:
            self._on_wait(step.because, step.seconds)
        time.sleep(step.seconds)
        return None

    def _send(self, send: Send) -> httpx.Response:
        timeout = httpx.Timeout(send.patience or self._timeout, connect=10.0)
        request = self._http.build_request(
            send.method, send.path, params=send.query, headers=send.headers, content=send.content, timeout=timeout
        )
        with translated(self.url):
            response = self._http.send(request, stream=send.stream)
            if send.stream and not response.is_success:
                response.read()
            return response
