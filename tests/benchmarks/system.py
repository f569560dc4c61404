"""The whole system for benchmarks: embedded servers, the real ML service with the bundled model, one gateway, one synced thread."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console

from gateway.conversations.prompt import Thread, system_text
from tests.factories import Device, paired_device
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.ml_service import DATA_DIR, MlServiceProcess
from tests.fixtures.servers import own_servers

_MESSAGES = 1000


@dataclass(frozen=True, kw_only=True)
class BenchmarkSystem:
    """What runs. `incoming_messages` can be answered; `prompts` are the chat turns that answering them with a history of 1 gives."""

    folder: Path
    database_url: str
    redis_url: str
    gateway: GatewayProcess
    ml_service: MlServiceProcess
    device: Device
    incoming_messages: list[str]
    prompts: list[list[dict[str, str]]]

    @property
    def data_dir(self) -> Path:
        return DATA_DIR

    @property
    def adapter_store(self) -> str:
        """A folder of this run's own: the data folder is the project's."""
        return str(self.folder / "adapters")

    @property
    def model_folder(self) -> Path:
        return DATA_DIR / "models" / "smollm2-135m-instruct"


@contextmanager
def running_system(folder: Path, console: Console) -> Iterator[BenchmarkSystem]:
    """Start everything, and stop it again."""
    with ExitStack() as stack:
        with console.status("starting PostgreSQL, Valkey, the ML service and the gateway"):
            system = _start(stack, folder)
        yield system


def _start(stack: ExitStack, folder: Path) -> BenchmarkSystem:
    postgres, valkey = stack.enter_context(own_servers(folder))
    ml_service = MlServiceProcess(folder, redis_url=valkey.url, adapter_store=str(folder / "adapters"))
    stack.callback(ml_service.stop)
    ml_service.start()
    gateway = GatewayProcess(
        folder, database_url=postgres.url, redis_url=valkey.url, ml_service_url=ml_service.url, ml_service_token=ml_service.token
    )
    stack.callback(gateway.stop)
    gateway.start()
    device = paired_device(gateway.url)
    texts = [
        f"Question {number}: what should we bring for dinner on Saturday, and how many of us are coming?" for number in range(_MESSAGES)
    ]
    return BenchmarkSystem(
        folder=folder,
        database_url=postgres.url,
        redis_url=valkey.url,
        gateway=gateway,
        ml_service=ml_service,
        device=device,
        incoming_messages=_synced(device, texts),
        prompts=[_prompt(text) for text in texts],
    )


def _synced(device: Device, texts: list[str]) -> list[str]:
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    messages = [
        {
            "imessageGuid": f"benchmark-{number}", "senderId": "sam@example.com", "direction": "incoming", "messageType": "text",
            "text": text, "sentAt": (begin + timedelta(hours=number)).isoformat(),
        }
        for number, text in enumerate(texts)
    ]  # fmt: skip
    thread = {"conversationImessageId": "benchmark", "isGroup": False, "participantIds": ["sam@example.com"], "messages": messages}
    answer = device.client.post("/api/sync/messages", json=thread).raise_for_status().json()
    return [message["id"] for message in answer["messages"]]


def _prompt(text: str) -> list[dict[str, str]]:
    system = system_text(Thread(is_group=False), include_contact_info=False)
    return [{"role": "system", "content": system}, {"role": "user", "content": text}]
