"""Nothing that people write to each other is in a log."""

from pathlib import Path
from uuid import uuid4

from tests.factories import Device
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.scripted_ml_service import ScriptedMlService
from tests.gateway.responses.situations import DRAFT, drafted, received
from tests.gateway.responses.test_streaming import streamed


def test_no_message_and_no_draft_is_in_a_log(
    owner: Device, drafting_gateway: GatewayProcess, ml_service: ScriptedMlService, run_folder: Path
) -> None:
    message, own_words, reason = (f"canary-{uuid4().hex}" for _ in range(3))
    edited, rejected = drafted(owner, received(owner, message)), drafted(owner, received(owner, message))
    owner.client.post(f"/api/responses/{edited['responseId']}/action", json={"action": "edit", "editedResponse": own_words})
    owner.client.post(f"/api/responses/{rejected['responseId']}/action", json={"action": "reject", "rejectionReason": reason})
    owner.client.post(f"/api/responses/{rejected['responseId']}/action", json={"action": "edit", "editedResponse": own_words + "\0"})
    with streamed(owner, messageId=received(owner, f"{message} {'a' * 5000}"), context={"temperature": 9}) as (refused, _):
        assert refused.status_code == 400
    with streamed(owner, messageId=received(owner, f"{'a' * 5000} {message}")) as (cut, events):
        assert (cut.status_code, list(events)[-1][0]) == (200, "completed")

    logs = "".join(path.read_text(errors="replace") for path in run_folder.glob("*.log"))
    assert edited["responseId"] in logs  # so these are the logs in question
    for secret in (message, own_words, reason, DRAFT, owner.token):
        assert secret not in logs
