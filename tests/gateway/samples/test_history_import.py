"""POST /api/training/samples/import."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tests.factories import Device, message, paired_device, sync
from tests.fixtures.database import rows
from tests.fixtures.gateway import GatewayProcess
from tests.gateway.responses.situations import DRAFT, drafted, synced
from tests.gateway.responses.situations import line as current_line
from tests.gateway.responses.test_feedback import act

BEGAN = datetime(2026, 1, 1, 12, tzinfo=UTC)
MANY = 100_000


def them(minute: float, text: str | None, **changes: Any) -> dict[str, Any]:
    return message(**{"text": text, "sentAt": (BEGAN + timedelta(minutes=minute)).isoformat(), **changes})


def me(minute: float, text: str | None, **changes: Any) -> dict[str, Any]:
    return them(minute, text, **{"direction": "outgoing", "senderId": "me", **changes})


def ask(device: Device, **body: Any) -> httpx.Response:
    return device.client.post("/api/training/samples/import", json=body)


def imported(device: Device, **body: Any) -> dict[str, Any]:
    answer = ask(device, **body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def skipped(answer: dict[str, Any]) -> dict[str, int]:
    """The reasons that there were."""
    return {reason: count for reason, count in answer["skipped"].items() if count}


def samples(device: Device) -> list[dict[str, Any]]:
    return list(device.client.get("/api/training/samples?pageSize=100").json()["samples"])


def said(device: Device) -> list[tuple[str, str]]:
    """What was answered and how, newest first."""
    return [(sample["input"], sample["output"]) for sample in samples(device)]


def test_a_reply_is_a_sample(owner: Device) -> None:
    thread = sync(owner, [them(0, "Dinner on Friday?"), me(3, "sure :)")])

    answer = imported(owner)

    assert (answer["imported"], answer["known"], skipped(answer)) == (1, 0, {})
    (sample,) = samples(owner)
    assert (sample["source"], sample["input"], sample["output"], sample["rejectedOutput"]) == (
        "history", "Dinner on Friday?", "sure :)", None,
    )  # fmt: skip
    assert (sample["quality"], sample["responseId"], sample["conversationId"]) == (0.75, None, thread["conversationId"])
    assert sample["repliedAt"] == "2026-01-01T12:03:00Z"


def test_bursts_of_both_sides_are_one_turn_each(owner: Device) -> None:
    sync(owner, [them(0, "Hey"), them(1, "Dinner?"), me(2, "yes"), me(3, "gladly"), me(30, "what time?"), them(31, "Seven"), me(32, "ok")])

    imported(owner)

    assert said(owner) == [("Seven", "ok"), ("Hey\nDinner?", "yes\ngladly")]


def test_a_picture_in_between_ends_what_was_written_in_one_go(owner: Device) -> None:
    picture = them(2.5, "\ufffc", messageType="attachment", attachments=[{"mimeType": "image/heic"}])
    sync(owner, [them(0, "Dinner?"), me(2, "yes"), picture, me(3, "looks good")])

    answer = imported(owner)

    assert said(owner) == [("Dinner?", "yes")]
    assert skipped(answer) == {"answersNoText": 1}


def test_the_prompt_is_the_one_that_a_draft_would_have(owner: Device, database_url: str) -> None:
    cards = [{"displayName": "Anna", "phoneNumber": "+14155550100"}]
    owner.client.post("/api/sync/contacts", json={"contacts": cards})
    turns = [(them if minute % 20 else me)(minute, f"Line {minute}") for minute in range(0, 150, 10)]
    group: dict[str, Any] = {"isGroup": True, "conversationDisplayName": "Trip", "participantIds": ["+14155550100", "b@example.com"]}
    last = them(150, "And you?", senderId="b@example.com")
    answered = sync(owner, [*turns, last], **group)["messages"][-1]["id"]
    draft = drafted(owner, answered)
    sync(owner, [me(155, "me too")], **group)

    imported(owner, limit=1)

    (sample,) = samples(owner)
    (response,) = rows(database_url, "select messages::text, message_ids from response where id = $1", UUID(draft["responseId"]))
    (stored,) = rows(database_url, "select messages::text, message_ids, answered_id from sample where id = $1", UUID(sample["id"]))
    assert stored["messages"] == response["messages"]
    assert stored["message_ids"][:-1] == response["message_ids"]
    assert str(stored["answered_id"]) == answered
    assert sample["messages"][-1]["content"] == "Person 1: And you?"


def test_what_is_no_reply_is_not_looked_at(owner: Device) -> None:
    sync(
        owner,
        [
            me(0, "I begin"),
            them(10, "Taken back", retractedAt="2026-01-02T12:00:00Z"),
            me(20, "after a retracted message"),
            them(30, "Taken back too"),
            me(40, "unsaid", retractedAt="2026-01-02T12:00:00Z"),
            me(41, "Liked a message", messageType="reaction", associatedMessageGuid="x", associatedMessageType="like"),
            me(42, "You named the group", messageType="system"),
            me(43, "\ufffc", messageType="attachment", attachments=[{"mimeType": "image/heic"}]),
            me(44, " \n"),
            them(50, "Not asked again"),
        ],
    )

    answer = imported(owner)

    assert (answer["imported"], answer["known"], skipped(answer)) == (0, 0, {})


PHONE = [
    "Liked “see you at 8”", "Loved an image", "Removed a heart from “ok”", "Gefällt mir: „bis 8“", "A ajouté un rire à « à demain »",
    "👍 to “see you at 8”", "Edited to “at nine”", "Bearbeitet zu „um neun“",
]  # fmt: skip
NOTHING = ["\u00a0\u2003", "\u200b\ufeff", "\ufffd", "\ufffc", "\u0301"]


@pytest.mark.parametrize("text", [*PHONE, *NOTHING])
def test_what_a_phone_wrote_or_what_shows_nothing_is_no_reply(owner: Device, text: str) -> None:
    sync(owner, [them(0, "See you at 8"), me(1, text), them(60, "Where are you?"), me(61, text), me(62, "on my way")])

    answer = imported(owner)

    assert (answer["imported"], skipped(answer)) == (1, {})
    (sample,) = samples(owner)
    assert (sample["input"], sample["output"]) == ("Where are you?", "on my way")
    assert text not in str(sample["messages"])


def test_what_looks_like_a_reaction_and_is_none_is_a_reply(owner: Device) -> None:
    sync(owner, [them(0, "And?"), me(1, "Liked it a lot"), them(60, "What did you see?"), me(61, "Loved the film “Heat”, you too?")])

    imported(owner)

    assert said(owner) == [("What did you see?", "Loved the film “Heat”, you too?"), ("And?", "Liked it a lot")]


def test_an_edited_reply_is_learnt_without_what_the_phone_says_about_it(owner: Device) -> None:
    edited = me(1, "at nine", editedAt="2026-01-01T12:05:00Z")
    sync(owner, [them(0, "When?"), edited, me(2, "Edited to “at nine”"), them(30, "👍 to “at nine”")])

    imported(owner)

    assert said(owner) == [("When?", "at nine")]


def test_a_reply_to_a_caption_and_one_of_a_single_emoji_count(owner: Device) -> None:
    picture = {"messageType": "attachment", "attachments": [{"mimeType": "image/heic"}]}
    sync(owner, [them(0, "\ufffcWhat is this?", **picture), me(1, "❤️")])

    assert (imported(owner)["imported"], said(owner)) == (1, [("[image] What is this?", "❤️")])


@pytest.mark.parametrize(("minutes", "count"), [(60, 1), (59, 0), (None, 1)])
def test_a_late_reply_is_none(owner: Device, minutes: int | None, count: int) -> None:
    sync(owner, [them(0, "Are you there?"), me(60, "now I am"), them(70, "Good"), me(70 + 24 * 60 + 1, "a day later")])

    body = {} if minutes is None else {"replyWithinMinutes": minutes}

    assert imported(owner, **body)["imported"] == count


@pytest.mark.parametrize(
    ("answered", "reply", "reason"),
    [
        ({"text": "Look"}, "https://example.com/a?b=c www.example.org", "linksOnly"),
        ({"text": "Your number?"}, "+1 415 555 0132", "personalDataOnly"),
        ({"text": "And the door code?"}, "4821", "personalDataOnly"),
        ({"text": "Read this"}, "a" * 4_001, "tooLong"),
        ({"text": "b" * 4_001}, "no", "tooLong"),
        ({"text": "\ufffc", "messageType": "attachment", "attachments": [{"mimeType": "image/heic"}]}, "nice", "answersNoText"),
    ],
)
def test_what_teaches_nothing_is_counted(owner: Device, answered: dict[str, Any], reply: str, reason: str) -> None:
    sync(owner, [them(0, **answered), me(1, reply)])

    answer = imported(owner)

    assert (answer["imported"], skipped(answer), samples(owner)) == (0, {reason: 1}, [])


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        ({"action": "accept"}, "acceptedDraft"),
        ({"action": "edit", "editedResponse": "Can we make it eight?"}, "editedDraft"),
    ],
    ids=["accept", "edit"],
)
def test_a_sent_draft_is_not_the_owners_voice_and_an_edited_one_is_there(owner: Device, action: dict[str, Any], reason: str) -> None:
    name = uuid4().hex
    answered = synced(owner, [current_line("Dinner on Friday?")], name)[0]
    act(owner, drafted(owner, answered)["responseId"], action)
    sent = action.get("editedResponse", DRAFT).replace(" ", "  ") + "\n"
    now = datetime.now(UTC)
    synced(owner, [current_line(sent, "outgoing", sentAt=now.isoformat())], name)
    synced(owner, [current_line("Great", sentAt=(now + timedelta(minutes=5)).isoformat())], name)
    synced(owner, [current_line("see you", "outgoing", sentAt=(now + timedelta(minutes=6)).isoformat())], name)

    answer = imported(owner)

    assert (answer["imported"], skipped(answer)) == (1, {reason: 1})
    assert [sample["output"] for sample in samples(owner) if sample["source"] == "history"] == ["see you"]


def test_a_rejected_draft_that_the_owner_wrote_all_the_same_is_the_owners(owner: Device) -> None:
    name = uuid4().hex
    answered = synced(owner, [current_line("Dinner on Friday?")], name)[0]
    act(owner, drafted(owner, answered)["responseId"], {"action": "reject"})
    synced(owner, [current_line(DRAFT, "outgoing")], name)

    assert imported(owner)["imported"] == 1


def test_a_preview_gives_the_same_figures_and_stores_nothing(owner: Device) -> None:
    sync(owner, [them(0, "One?"), me(1, "one")])
    imported(owner)
    sync(owner, [them(10, "Two?"), me(11, "two"), them(20, "Code?"), me(21, "4821"), them(30, "Read this"), me(31, "https://example.com")])

    preview = imported(owner, preview=True)

    assert (preview["imported"], preview["known"], skipped(preview)) == (1, 1, {"personalDataOnly": 1, "linksOnly": 1})
    assert preview["examples"] == [{"input": "Two?", "output": "two"}]
    assert said(owner) == [("One?", "one")]
    assert imported(owner, preview=True) == preview
    assert imported(owner) == {**preview, "examples": []}


def test_a_preview_shows_a_few_of_the_newest_samples_as_they_would_be(owner: Device) -> None:
    sync(owner, [(me if number % 2 else them)(60 * number, f"Line {number} of +1 415 555 0132") for number in range(20)])

    examples = imported(owner, preview=True, maxHistory=1)["examples"]

    assert examples == [{"input": f"Line {n} of [phone]", "output": f"Line {n + 1} of [phone]"} for n in (18, 16, 14)]


def test_again_adds_only_what_is_new(owner: Device) -> None:
    sync(owner, [them(0, "One?"), me(1, "one"), them(10, "Two?"), me(11, "two")])
    imported(owner)
    sync(owner, [them(20, "Three?"), me(21, "three"), me(-1, "began earlier"), them(-5, "Zero?"), me(0.5, "at once")])

    again = imported(owner)

    # The reply to "One?" has a message more in front now; it is known all the same.
    assert (again["imported"], again["known"]) == (2, 2)
    assert sorted(output for _, output in said(owner)) == ["began earlier", "one", "three", "two"]


def test_ten_at_once_add_everything_once(owner: Device) -> None:
    sync(owner, [(me if number % 2 else them)(10 * number, f"Line {number}") for number in range(600)])

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: imported(owner), range(10)))

    assert sum(answer["imported"] for answer in answers) == 300
    assert {answer["imported"] + answer["known"] for answer in answers} == {300}
    assert owner.client.get("/api/training/samples").json()["total"] == 300


def test_the_newest_come_first_up_to_the_limit(owner: Device) -> None:
    for number in range(3):
        sync(owner, [them(10 * number, f"Question {number}"), me(10 * number + 1, f"answer {number}")], name=f"thread {number}")

    assert imported(owner, limit=2)["imported"] == 2
    assert said(owner) == [("Question 2", "answer 2"), ("Question 1", "answer 1")]
    assert imported(owner, limit=2) == {**imported(owner, limit=2), "imported": 0, "known": 2}


def test_one_conversation_from_a_time_on(owner: Device) -> None:
    wanted = sync(owner, [them(0, "Old?"), me(1, "old"), them(60, "New?"), me(61, "new")])["conversationId"]
    sync(owner, [them(60, "Elsewhere?"), me(61, "elsewhere")], name="other")

    imported(owner, conversationId=wanted, since="2026-01-01T13:01:00+01:00")
    assert said(owner) == [("New?", "new"), ("Old?", "old")]

    imported(owner, since="2026-01-01T13:01:00Z")
    assert len(said(owner)) == 3


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("since", "yesterday"),
        ("since", "2026-01-01T12:00:00"),
        ("since", "0001-01-01T00:00:00+14:00"),
        ("since", "9999-12-31T23:59:59-14:00"),
        ("limit", 0),
        ("limit", 10_001),
        ("replyWithinMinutes", 0),
        ("conversationId", "thread"),
        ("maskPersonalData", "yes"),
        ("preview", 1),
    ],
)
def test_what_cannot_be_used_is_named(owner: Device, field: str, value: Any) -> None:
    answer = ask(owner, **{field: value})

    assert (answer.status_code, answer.json()["details"][0]["field"]) == (400, field)


def test_a_strangers_conversation_is_unknown(owner: Device, drafting_gateway: GatewayProcess) -> None:
    conversation = sync(owner, [them(0, "Private?"), me(1, "very")])["conversationId"]
    stranger = paired_device(drafting_gateway.url)

    assert ask(stranger, conversationId=conversation).status_code == 404
    assert ask(stranger, conversationId=str(uuid4())).status_code == 404
    assert imported(stranger)["imported"] == 0
    assert samples(owner) == samples(stranger) == []


SECRETS = [them(0, "Mail it to bob@example.com or call +1 415 555 0132"), me(1, "will do, card is 4111 1111 1111 1111")]


def test_personal_data_is_masked(owner: Device) -> None:
    sync(owner, SECRETS)

    imported(owner)

    assert said(owner) == [("Mail it to [email] or call [phone]", "will do, card is [card]")]


def test_personal_data_stays_if_the_owner_wants_that(owner: Device) -> None:
    sync(owner, SECRETS)

    imported(owner, maskPersonalData=False)

    assert said(owner) == [(SECRETS[0]["text"], SECRETS[1]["text"])]


@pytest.mark.parametrize("which", [0, 1], ids=["answered", "reply"])
def test_a_retraction_takes_the_sample_with_it(owner: Device, which: int) -> None:
    messages = [them(0, "Dinner?"), me(1, "sure")]
    sync(owner, messages)
    imported(owner)

    sync(owner, [{**messages[which], "text": None, "retractedAt": "2026-01-02T12:00:00Z"}])

    assert samples(owner) == []
    assert imported(owner)["imported"] == 0


def test_nothing_that_is_retracted_meanwhile_is_left(owner: Device) -> None:
    """A sync and an import of the same thread take turns, whichever comes first."""
    messages = [(me if number % 2 else them)(10 * number, f"Line {number}") for number in range(600)]
    sync(owner, messages)
    retracted = [{**each, "text": None, "retractedAt": "2026-02-01T12:00:00Z"} for each in messages]
    stop = threading.Event()

    def importing() -> None:
        while not stop.is_set():
            imported(owner)

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(importing)
        for start in range(0, 600, 40):
            sync(owner, retracted[start : start + 40])
        stop.set()
        running.result()

    assert samples(owner) == []


def test_two_thousand_replies_out_of_a_hundred_thousand_messages(owner: Device, database_url: str) -> None:
    conversations = [UUID(sync(owner, [], name=f"thread {number}")["conversationId"]) for number in range(20)]
    rows(
        database_url,
        """
        insert into message (id, account_id, conversation_id, imessage_guid, sender_id, direction, message_type, text, sent_at)
        select gen_random_uuid(), $1, ($2::uuid[])[1 + n / 2 % 20], 'guid-' || n, 'sam',
               case n % 2 when 0 then 'incoming' else 'outgoing' end, 'text',
               'Message ' || n || ' of some usual length, call 415-555-' || 1000 + n % 9000, now() - (200001 - n) * interval '3 minutes'
        from generate_series(1, $3) n
        """,
        owner.account_id,
        conversations,
        MANY,
    )
    rows(database_url, "analyze message")

    answer = imported(owner, limit=2_000)

    assert answer["imported"] == 2_000
    assert all("[phone]" in output for _, output in said(owner))
