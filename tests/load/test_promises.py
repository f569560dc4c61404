"""What `make load` says of promises that were broken."""

from tests.load.ledger import Account, PairedDevice, broken_promises


def account_with(*devices: PairedDevice) -> Account:
    return Account(devices=list(devices), threads=[], conversations={"ours"})


def device() -> PairedDevice:
    return PairedDevice(id="device", token="", refresh_token="")


def completed(event_id: str, conversation: str = "ours") -> dict[str, object]:
    return {"id": event_id, "type": "response:completed", "data": {"conversationId": conversation, "responseId": "draft"}}


def test_nothing_is_said_when_all_were_kept() -> None:
    phone, laptop = device(), device()
    account = account_with(phone, laptop)
    account.accepted["draft"] = "completed"
    for each in (phone, laptop):
        account.hear(each, completed("1-0"), (0, 0))

    assert broken_promises([account]) == []


def test_an_event_that_only_one_device_heard_was_missed() -> None:
    phone, laptop = device(), device()
    account = account_with(phone, laptop)
    account.hear(phone, completed("1-0"), (0, 0))
    account.hear(phone, completed("2-0", conversation="of somebody else"), (0, 0))

    assert broken_promises([account]) == ["1 events did not reach a device that came back with its Last-Event-ID"]


def test_a_draft_that_was_accepted_has_to_end_and_to_be_told() -> None:
    account = account_with(device())
    account.accepted["draft"] = "queued"

    assert broken_promises([account]) == [
        "1 queued drafts that were accepted have not ended",
        "1 queued drafts of whose end no device was told",
    ]


def test_events_come_in_order_on_a_connection() -> None:
    phone = device()
    account = account_with(phone)
    last = account.hear(phone, completed("10-0"), (0, 0))
    account.hear(phone, completed("9-0"), last)

    assert broken_promises([account]) == ["1 events came after later ones"]
    assert phone.last_event == "9-0"
