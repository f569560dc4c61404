"""POST /api/sync/contacts: who is who."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.factories import Device, message, paired_device, sync
from tests.fixtures.database import rows
from tests.fixtures.gateway import GatewayProcess


@pytest.fixture
def device(gateway: GatewayProcess) -> Device:
    return paired_device(gateway.url)


def card(name: str = "John Doe", **handles: Any) -> dict[str, Any]:
    return {"displayName": name, **handles}


def sync_contacts(device: Device, *cards: dict[str, Any], **batch: Any) -> dict[str, Any]:
    answer = device.client.post("/api/sync/contacts", json={"contacts": list(cards), **batch})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def ids(answer: dict[str, Any]) -> list[str]:
    return [contact["id"] for contact in answer["contacts"]]


def sender_names(device: Device, conversation_id: str) -> list[str | None]:
    messages = device.client.get(f"/api/conversations/{conversation_id}/messages").json()["messages"]
    return [each["senderName"] for each in messages]


def test_the_documented_request_is_stored(device: Device) -> None:
    documented = {
        "appleId": "john@icloud.com",
        "phoneNumber": "+1234567890",
        "email": "john@example.com",
        "displayName": "John Doe",
        "avatarHash": None,
    }

    answer = sync_contacts(device, documented)

    assert (answer["created"], answer["updated"], answer["unchanged"]) == (1, 0, 0)
    assert answer["contacts"] == [{"id": answer["contacts"][0]["id"], **documented}]
    assert sync_contacts(device, documented) == {**answer, "created": 0, "unchanged": 1}


def test_numbers_are_kept_as_e164_and_addresses_in_lower_case(device: Device) -> None:
    answer = sync_contacts(device, card(phoneNumber="+49 (171) 123-4567", email="Anna@Example.COM", appleId="+1 415 555 0100"))

    [contact] = answer["contacts"]
    assert (contact["phoneNumber"], contact["email"], contact["appleId"]) == ("+491711234567", "anna@example.com", "+14155550100")


def test_a_number_without_country_code_is_of_the_region_or_else_kept_as_its_digits(device: Device) -> None:
    national = card(phoneNumber="(415) 555-0100")

    unknown = sync_contacts(device, national)
    known = sync_contacts(device, national, defaultRegion="US")

    assert unknown["contacts"][0]["phoneNumber"] == "4155550100"
    assert known["contacts"][0]["phoneNumber"] == "+14155550100"
    assert ids(known) == ids(unknown)


@pytest.mark.parametrize(
    ("bad", "kept", "field"),
    [
        (card(phoneNumber="call me", email="a@b.c"), {"phoneNumber": None, "email": "a@b.c"}, "phoneNumber"),
        (card(phoneNumber="+", email="a@b.c"), {"phoneNumber": None, "email": "a@b.c"}, "phoneNumber"),
        (card(phoneNumber="1" * 61, email="a@b.c"), {"phoneNumber": None, "email": "a@b.c"}, "phoneNumber"),
        (card(email="nobody", appleId="a@b.c"), {"email": None, "appleId": "a@b.c"}, "email"),
        (card(email="a@b@c", appleId="a@b.c"), {"email": None, "appleId": "a@b.c"}, "email"),
        (card(appleId="x" * 321, email="a@b.c"), {"appleId": None, "email": "a@b.c"}, "appleId"),
        (card("a\0b", email="a@b.c"), {"displayName": None, "email": "a@b.c"}, "displayName"),
        (card("x" * 501, email="a@b.c"), {"displayName": None, "email": "a@b.c"}, "displayName"),
        (card(email="a@b.c", avatarHash="x" * 201), {"avatarHash": None, "email": "a@b.c"}, "avatarHash"),
    ],
)
def test_what_cannot_be_kept_of_a_card_is_left_out_and_told(device: Device, bad: dict[str, Any], kept: dict[str, Any], field: str) -> None:
    answer = sync_contacts(device, bad, defaultRegion="US")

    [contact], [result] = answer["contacts"], answer["results"]
    assert {name: contact[name] for name in kept} == kept
    assert (result["id"], [each["field"] for each in result["leftOut"]]) == (contact["id"], [field])
    assert result["leftOut"][0]["message"]


@pytest.mark.parametrize("nothing", [card(), card(email=" ", phoneNumber="", appleId="  "), card(phoneNumber="call me")])
def test_a_card_that_nobody_can_be_reached_by_is_left_out_and_the_others_are_kept(device: Device, nothing: dict[str, Any]) -> None:
    answer = sync_contacts(device, card("Anna", email="anna@x.org"), nothing, card("Ben", email="ben@x.org"))

    assert (answer["created"], [contact["displayName"] for contact in answer["contacts"]]) == (2, ["Anna", "Ben"])
    assert [result["id"] for result in answer["results"]] == [ids(answer)[0], None, ids(answer)[1]]
    assert [result["leftOut"] == [] for result in answer["results"]] == [True, False, True]
    assert answer["results"][1]["leftOut"][-1]["field"] is None


@pytest.mark.parametrize("region", ["US", "DE", "GB", "XX", None])
@pytest.mark.parametrize("code", ["72345", "72 345", "40404", "110"])
def test_a_short_code_is_a_handle_of_its_own(device: Device, region: str | None, code: str) -> None:
    answer = sync_contacts(device, card("My bank", phoneNumber=code), defaultRegion=region)
    thread = sync(device, [message(senderId=code.replace(" ", ""))])

    assert answer["contacts"][0]["phoneNumber"] == code.replace(" ", "")
    assert sender_names(device, thread["conversationId"]) == ["My bank"]


@pytest.mark.parametrize("name", [None, "", "  "])
def test_a_contact_may_have_no_name_until_it_gets_one(device: Device, name: str | None) -> None:
    nameless = sync_contacts(device, {"displayName": name, "phoneNumber": "+14155550100"}, card("Anna", email="anna@x.org"))
    thread = sync(device, [message(senderId="+14155550100")])
    assert (nameless["created"], nameless["contacts"][0]["displayName"]) == (2, None)
    assert sender_names(device, thread["conversationId"]) == [None]
    [conversation] = device.client.get("/api/conversations").json()["conversations"]
    assert conversation["displayName"] == "+14155550100"

    named = sync_contacts(device, card("John", phoneNumber="+14155550100"))
    sync_contacts(device, {"phoneNumber": "+14155550100"})

    assert ids(named) == ids(nameless)[:1]
    assert sender_names(device, thread["conversationId"]) == ["John"]


def test_a_wrong_type_or_region_still_refuses_the_batch(device: Device) -> None:
    for field, body in {
        "contacts[0].email": {"contacts": [card(email=7)]},
        "defaultRegion": {"contacts": [card(email="a@b.c")], "defaultRegion": "usa"},
    }.items():
        answer = device.client.post("/api/sync/contacts", json=body)

        assert (answer.status_code, answer.json()["details"][0]["field"]) == (400, field)


LANDLINE = "+14155550199"
MUM, DAD = card("Mum", phoneNumber=LANDLINE, email="mum@x.org"), card("Dad", phoneNumber=LANDLINE, email="dad@x.org")


def test_a_number_that_two_named_contacts_share_means_neither(device: Device) -> None:
    sent = sync_contacts(device, MUM, DAD)
    names = {
        handle: sender_names(device, sync(device, [message(senderId=handle)], name=handle)["conversationId"])
        for handle in (LANDLINE, "mum@x.org", "dad@x.org")
    }

    assert (sent["created"], len(set(ids(sent)))) == (2, 2)
    assert [contact["phoneNumber"] for contact in sent["contacts"]] == [LANDLINE, LANDLINE]
    assert names == {LANDLINE: [None], "mum@x.org": ["Mum"], "dad@x.org": ["Dad"]}
    assert sync_contacts(device, DAD, MUM) == {**sent, "created": 0, "unchanged": 2, "contacts": sent["contacts"][::-1],
                                               "results": sent["results"][::-1]}  # fmt: skip


@pytest.mark.parametrize(
    ("mum", "dad"),
    [
        (card("Mum", phoneNumber=LANDLINE), card("Dad", phoneNumber=LANDLINE)),
        (card("Mum", email="us@x.org"), card("Dad", email="us@x.org", phoneNumber="+14155550123")),
        (card("Мама", phoneNumber=LANDLINE), card("Папа", phoneNumber="+1 (415) 555-0199")),
        (card("妈妈", phoneNumber=LANDLINE), card("爸爸", phoneNumber="4155550199")),
    ],
)
def test_so_do_other_handles_and_names_of_all_scripts(device: Device, mum: dict[str, Any], dad: dict[str, Any]) -> None:
    shared = mum.get("phoneNumber") or mum["email"]
    thread = sync(device, [message(senderId=shared)])

    first = sync_contacts(device, mum, dad, defaultRegion="US")
    again = sync_contacts(device, mum, dad, defaultRegion="US")

    assert (first["created"], again["unchanged"]) == (2, 2)
    assert ids(again) == ids(first)
    assert sender_names(device, thread["conversationId"]) == [None]


@pytest.mark.parametrize(
    ("one", "other"),
    [("J", "John"), ("Doe, John", "John Doe"), ("Mum", "❤️ MUM"), ("Dr. Anna Jones", "Anna  Jones"), ("李明", "李明 (公司)")],
)
def test_two_cards_whose_names_are_alike_are_one_person(device: Device, one: str, other: str) -> None:
    answer = sync_contacts(device, card(one, phoneNumber=LANDLINE, email="a@x.org"), card(other, phoneNumber=LANDLINE, email="b@x.org"))

    assert answer["created"] == 1


def test_a_number_that_comes_to_be_shared_means_nobody_any_more(device: Device) -> None:
    [mum] = ids(sync_contacts(device, MUM))
    thread = sync(device, [message(senderId=LANDLINE)])
    assert sender_names(device, thread["conversationId"]) == ["Mum"]

    later = sync_contacts(device, DAD)

    assert later["created"] == 1
    assert sender_names(device, thread["conversationId"]) == [None]
    assert ids(sync_contacts(device, MUM)) == [mum]


def test_a_new_name_for_the_same_number_is_the_same_contact(device: Device) -> None:
    first = sync_contacts(device, card("Mum", phoneNumber=LANDLINE))

    again = sync_contacts(device, card("Mother", phoneNumber=LANDLINE, email="mum@x.org"))
    married = sync_contacts(device, card("Anna Jones", email="mum@x.org"))

    assert ids(first) == ids(again) == ids(married)
    assert married["contacts"][0]["displayName"] == "Anna Jones"


def test_contacts_that_turn_out_to_be_one_person_have_their_number_again(device: Device) -> None:
    first = sync_contacts(device, MUM, DAD)
    thread = sync(device, [message(senderId=LANDLINE)])

    sync_contacts(device, {**MUM, "appleId": "dad@x.org"})

    assert sender_names(device, thread["conversationId"]) == ["Mum"]
    assert ids(sync_contacts(device, card("Mum", phoneNumber=LANDLINE))) == ids(first)[:1]


@pytest.mark.parametrize(
    ("known", "sender"),
    [
        ("+1 (415) 555-0100", "4155550100"),
        ("+1 (415) 555-0100", "(415) 555-0100"),
        ("+1 (415) 555-0100", "14155550100"),
        ("+49 171 1234567", "0171 1234567"),
        ("+49 171 1234567", "0049171 1234567"),
        ("+39 06 698 12345", "06 698 12345"),
        ("+972 50-123-4567", "050-123-4567"),
        ("+1 (415) 555-0100", "tel:+1-415-555-0100"),
        ("tel:+14155550100", "sms:+14155550100"),
        ("+1 (415) 555-0100", "\u202a+1 (415) 555\u20110100\u202c"),
        ("+20 100 123 4567", "+٢٠١٠٠١٢٣٤٥٦٧"),
        ("+81 90-1234-5678", "＋８１９０１２３４５６７８"),  # noqa: RUF001
    ],
)
def test_a_sender_is_found_however_the_number_is_written(device: Device, known: str, sender: str) -> None:
    sync_contacts(device, card("John", phoneNumber=known))

    thread = sync(device, [message(senderId=sender)])

    assert sender_names(device, thread["conversationId"]) == ["John"]


def test_one_number_in_two_spellings_of_one_person_is_one_contact(device: Device) -> None:
    answer = sync_contacts(device, card("John", phoneNumber="4155550100"), card("John Doe", phoneNumber="+14155550100"))

    assert answer["created"] == 1
    assert sync_contacts(device, card("John Doe", phoneNumber="415-555-0100"))["contacts"][0]["phoneNumber"] == "+14155550100"


def test_one_shared_handle_makes_it_the_same_contact(device: Device) -> None:
    first = sync_contacts(device, card("John", email="john@example.com"))

    second = sync_contacts(device, card("John Doe", email="JOHN@example.com", phoneNumber="+14155550100", avatarHash="abc"))
    third = sync_contacts(device, card("John Doe", phoneNumber="+1 415 555-0100", avatarHash="abc"))

    assert ids(second) == ids(third) == ids(first)
    assert (second["updated"], third["unchanged"]) == (1, 1)
    assert third["contacts"][0]["email"] == "john@example.com"


def test_the_same_contact_twice_in_a_batch_is_one(device: Device) -> None:
    answer = sync_contacts(device, card("J", email="j@x.org"), card("Anna", email="a@x.org"), card("John", email="j@x.org"))

    assert answer["created"] == 2
    assert ids(answer)[0] == ids(answer)[2]
    assert [contact["displayName"] for contact in answer["contacts"]] == ["John", "Anna", "John"]


def test_a_card_with_handles_of_two_contacts_makes_them_the_older_one(device: Device, database_url: str) -> None:
    older, younger = ids(sync_contacts(device, card("John", email="j@x.org"), card("Johnny", phoneNumber="+14155550100")))
    first = sync(device, [message(senderId="j@x.org")], name="one")
    second = sync(device, [message(senderId="+14155550100")], name="two")

    answer = sync_contacts(device, card("John Doe", email="j@x.org", phoneNumber="+14155550100"))

    assert ids(answer) == [older]
    assert answer["updated"] == 1
    assert sender_names(device, first["conversationId"]) == sender_names(device, second["conversationId"]) == ["John Doe"]
    assert [row["id"] for row in rows(database_url, "select id::text from contact where account_id = $1", device.account_id)] == [older]
    third = sync(device, [message(senderId=younger)], name="three")
    assert sender_names(device, third["conversationId"]) == ["John Doe"]


def test_a_message_finds_its_contact_whichever_comes_first(device: Device) -> None:
    [anna] = ids(sync_contacts(device, card("Anna", email="anna@example.com")))
    early = sync(device, [message(senderId="+1 (415) 555-0100")], name="early", participantIds=[anna])

    sync_contacts(device, card("John", phoneNumber="+14155550100"))
    late = sync(device, [message(senderId="ANNA@example.com")], name="late")

    assert sender_names(device, early["conversationId"]) == ["John"]
    assert sender_names(device, late["conversationId"]) == ["Anna"]
    conversations = device.client.get("/api/conversations").json()["conversations"]
    people = {
        conversation["imessageId"]: [person["displayName"] for person in conversation["participants"]] for conversation in conversations
    }
    assert people == {"early": ["Anna", "John"], "late": ["Anna"]}


def test_another_accounts_contacts_mean_nothing_here(device: Device, gateway: GatewayProcess) -> None:
    stranger = paired_device(gateway.url)
    theirs = sync_contacts(stranger, card("Theirs", email="john@example.com"))

    mine = sync_contacts(device, card("Mine", email="john@example.com"))
    thread = sync(device, [message(senderId=ids(theirs)[0])])

    assert mine["created"] == 1
    assert sender_names(device, thread["conversationId"]) == [None]
    assert sync_contacts(stranger, card("Theirs", email="john@example.com"))["unchanged"] == 1


def test_contacts_and_messages_at_once_find_each_other(device: Device, database_url: str) -> None:
    handles = [f"person{number}@example.com" for number in range(12)]

    def contacts(number: int) -> None:
        sync_contacts(device, *(card(f"Person {handle}", email=handle) for handle in handles[number % 3 :: 2]))

    def messages(number: int) -> None:
        sync(device, [message(senderId=handle) for handle in handles], name=f"thread {number}")

    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(contacts if number % 2 else messages, number) for number in range(24)]
        for each in running:
            each.result()
    contacts(0)
    contacts(1)

    contact_rows = rows(database_url, "select email from contact where account_id = $1", device.account_id)
    assert sorted(row["email"] for row in contact_rows) == sorted(handles)
    lonely = """
        select count(*) from participant join conversation on conversation.id = participant.conversation_id
        where account_id = $1 and contact_id is null
    """
    assert rows(database_url, lonely, device.account_id)[0]["count"] == 0
