from tests.factories import paired_device
from tests.fixtures.gateway import GatewayProcess

DOCUMENTED = {
    "conversationImessageId": "iMessage-thread-id",
    "conversationDisplayName": "John Doe",
    "isGroup": False,
    "participantIds": ["contact-id-1"],
    "messages": [
        {
            "imessageGuid": "msg-guid",
            "senderId": "contact-id-1",
            "direction": "incoming",
            "messageType": "text",
            "text": "Hello!",
            "sentAt": "2024-01-01T12:00:00Z",
        }
    ],
}


def test_the_documented_request_is_stored(gateway: GatewayProcess) -> None:
    device = paired_device(gateway.url)

    answer = device.client.post("/api/sync/messages", json=DOCUMENTED)

    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["created"], body["updated"], body["unchanged"]) == (1, 0, 0)
    assert [message["imessageGuid"] for message in body["messages"]] == ["msg-guid"]


def test_sending_it_again_changes_nothing(gateway: GatewayProcess) -> None:
    device = paired_device(gateway.url)
    first = device.client.post("/api/sync/messages", json=DOCUMENTED).json()

    again = device.client.post("/api/sync/messages", json=DOCUMENTED).json()

    assert again == {**first, "created": 0, "unchanged": 1}
