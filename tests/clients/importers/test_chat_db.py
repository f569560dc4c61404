"""What becomes of the rows of `chat.db`, through a real gateway."""

import plistlib
from datetime import timedelta

from assistant_client.importers.apple.messages import URL_BALLOON

from tests.clients.importers.gateway_destination import GatewayDestination
from tests.clients.importers.importing import imported
from tests.clients.importers.made_chat_db import EPOCH, START, MadeChatDb, apple_date, summary_info
from tests.clients.importers.made_typedstream import attributed_body

SAM = "+14155550100"
SAM_CHAT = f"iMessage;-;{SAM}"


def test_a_chat_arrives_as_it_was_written(made: MadeChatDb, destination: GatewayDestination) -> None:
    sam = made.direct_chat(SAM)
    question = sam.they("Dinner on Saturday?")
    sam.i(text="yes! 🎉", attributedBody=None)  # as older versions of macOS wrote it
    sam.they("Seven then", thread_originator_guid=question, thread_originator_part="0:0:19")

    summary = imported(made, destination)

    asked, answered, agreed = destination.messages(SAM_CHAT)
    assert [each["text"] for each in (asked, answered, agreed)] == ["Dinner on Saturday?", "yes! 🎉", "Seven then"]
    assert [each["direction"] for each in (asked, answered, agreed)] == ["incoming", "outgoing", "incoming"]
    assert [each["senderId"] for each in (asked, answered)] == [SAM, "me"]
    assert asked["sentAt"] == "2026-03-06T12:01:00Z"
    assert agreed["replyToGuid"] == question
    assert (summary.messages.created, summary.left_out.total()) == (3, 0)


def test_sending_it_again_changes_nothing(made: MadeChatDb, destination: GatewayDestination) -> None:
    sam = made.direct_chat(SAM)
    sam.they("Hello")
    liked = sam.i("Hi")
    sam.they(associated_message_type=2001, associated_message_guid=f"p:0/{liked}")
    imported(made, destination)

    again = imported(made, destination)

    assert (again.messages.created, again.messages.updated, again.messages.unchanged) == (0, 0, 3)


def test_reactions_stand_at_their_message_and_can_be_taken_back(made: MadeChatDb, destination: GatewayDestination) -> None:
    sam = made.direct_chat(SAM)
    photo, joke, link, plan, news = (sam.i(text) for text in ("photo", "joke", "link", "plan", "news"))
    for target, kind, more in [
        (f"p:0/{photo}", 2000, {}),
        (f"p:1/{joke}", 2006, {"associated_message_emoji": "🫠"}),
        (f"bp:{link}", 2003, {}),
        (f"p:0/{plan}", 2001, {}),
        (f"p:0/{plan}", 3001, {}),
        (f"p:0/{news}", 1000, {}),
        (photo, 2007, {}),
    ]:
        sam.they(associated_message_guid=target, associated_message_type=kind, **more)

    imported(made, destination)

    shown = {each["text"]: [reaction["type"] for reaction in each["reactions"]] for each in destination.messages(SAM_CHAT) if each["text"]}
    assert shown["joke"] == ["🫠"]
    assert shown["link"] == ["laugh"]
    assert shown["plan"] == []
    assert shown["news"] == ["sticker"]
    assert "love" in shown["photo"] or "sticker" in shown["photo"]


def test_a_removed_emoji_is_gone(made: MadeChatDb, destination: GatewayDestination) -> None:
    sam = made.direct_chat(SAM)
    mine = sam.i("we won")
    sam.they(associated_message_guid=f"p:0/{mine}", associated_message_type=2006, associated_message_emoji="🥇")
    sam.they(associated_message_guid=f"p:0/{mine}", associated_message_type=3006, associated_message_emoji="🥇")

    imported(made, destination)

    assert destination.messages(SAM_CHAT)[0]["reactions"] == []


def test_of_an_edited_message_the_last_version_of_each_part_counts(made: MadeChatDb, destination: GatewayDestination) -> None:
    sam = made.direct_chat(SAM)
    later = apple_date(START + timedelta(hours=1))
    info = summary_info(sent=3, edited={0: ["at six", "at seven", "at eight"]}, unsent=[1])
    sam.they(attributedBody=attributed_body("at six", "secret", "bring salad"), message_summary_info=info, date_edited=later)

    imported(made, destination)

    (message,) = destination.messages(SAM_CHAT)
    assert message["text"] == "at eight\nbring salad"
    assert message["editedAt"] == "2026-03-06T13:00:00Z"


def test_a_message_of_which_every_part_was_unsent_is_retracted(made: MadeChatDb, destination: GatewayDestination) -> None:
    sam = made.direct_chat(SAM)
    sam.they(message_summary_info=summary_info(sent=2, unsent=[0, 1]), date_edited=apple_date(START + timedelta(hours=1)))
    sam.they("still here")

    imported(made, destination)

    unsent, other = destination.messages(SAM_CHAT)
    assert (unsent["text"], unsent["retractedAt"]) == (None, "2026-03-06T13:00:00Z")
    assert (other["text"], other["retractedAt"]) == ("still here", None)


def test_an_edit_after_the_import_is_brought_in_by_the_next(made: MadeChatDb, destination: GatewayDestination) -> None:
    sam = made.direct_chat(SAM)
    guid = sam.they("at six")
    imported(made, destination)
    made.change(guid, attributedBody=attributed_body("at seven"), date_edited=apple_date(START + timedelta(hours=1)))

    summary = imported(made, destination)

    assert summary.messages.updated == 1
    assert destination.texts(SAM_CHAT) == ["at seven"]


def test_files_are_told_by_what_is_known_of_them(made: MadeChatDb, destination: GatewayDestination) -> None:
    sam = made.direct_chat(SAM)
    photo = sam.they("\ufffc", cache_has_attachments=1)
    made.attach(
        photo, transfer_name="IMG_1.heic", filename="~/Library/Messages/Attachments/a/IMG_1.heic", mime_type="image/heic", total_bytes=7
    )
    captioned = sam.they("\ufffcthe menu", cache_has_attachments=1)
    made.attach(captioned, filename="~/Library/Messages/Attachments/b/menu.pdf", mime_type="application/pdf")
    made.attach(captioned, transfer_name="preview.pluginPayloadAttachment", hide_attachment=1)

    imported(made, destination)

    alone, with_text = destination.messages(SAM_CHAT)
    assert (alone["messageType"], alone["text"]) == ("attachment", None)
    assert [(each["filename"], each["mimeType"], each["byteSize"]) for each in alone["attachments"]] == [("IMG_1.heic", "image/heic", 7)]
    assert (with_text["messageType"], with_text["text"]) == ("text", "the menu")
    assert [each["filename"] for each in with_text["attachments"]] == ["menu.pdf"]


def test_a_link_and_its_preview_are_one_message(made: MadeChatDb, destination: GatewayDestination) -> None:
    sam = made.direct_chat(SAM)
    sam.they("look: https://example.com/a")
    sam.they("https://example.com/a", balloon_bundle_id=URL_BALLOON)  # only shows it again
    sam.they("and")
    sam.they("https://example.com/b", balloon_bundle_id=URL_BALLOON)  # what was written after “and”
    archive = plistlib.dumps({"$objects": ["$null", {"NS.relative": 3}, "https://example.com/c"]}, fmt=plistlib.FMT_BINARY)
    original = sam.they(balloon_bundle_id=URL_BALLOON, payload_data=archive)
    sam.they(balloon_bundle_id=URL_BALLOON, associated_message_guid=f"bp:{original}", associated_message_type=3)

    summary = imported(made, destination)

    assert destination.texts(SAM_CHAT) == ["look: https://example.com/a", "and", "https://example.com/b", "https://example.com/c"]
    assert summary.left_out == {"preview of the link in the message before": 1, "update of a preview or of an app's message": 1}


def test_what_happened_in_a_group_is_told_by_the_system(made: MadeChatDb, destination: GatewayDestination) -> None:
    sam, kim = made.handle(SAM), made.handle("kim@example.com")
    group = made.group("Climbing", sam, kim)
    group.i(item_type=2, group_title="Climbing")
    group.they(item_type=1, group_action_type=0, other_handle=kim)
    group.they(item_type=3, group_action_type=0)
    group.they(item_type=6)
    group.they("hello all", handle_id=kim)

    summary = imported(made, destination)

    (identifier,) = [each["imessageId"] for each in destination.threads()]
    thread, messages = destination.thread(identifier), destination.messages(identifier)
    assert (thread["displayName"], thread["isGroup"]) == ("Climbing", True)
    assert {each["displayName"] for each in thread["participants"]} == {SAM, "kim@example.com"}
    assert [(each["messageType"], each["text"]) for each in messages] == [
        ("system", "named the conversation “Climbing”"),
        ("system", "added kim@example.com"),
        ("system", "left the conversation"),
        ("text", "hello all"),
    ]
    assert summary.left_out == {"call": 1}


def test_seconds_and_nanoseconds_are_told_apart(made: MadeChatDb, destination: GatewayDestination) -> None:
    sam = made.direct_chat(SAM)
    sam.they("in seconds", date=int((START - EPOCH).total_seconds()))
    sam.they("in nanoseconds", date=apple_date(START + timedelta(seconds=1)))

    imported(made, destination)

    assert [each["sentAt"] for each in destination.messages(SAM_CHAT)] == ["2026-03-06T12:00:00Z", "2026-03-06T12:00:01Z"]


def test_chats_over_several_services_are_one_conversation(made: MadeChatDb, destination: GatewayDestination) -> None:
    made.direct_chat(SAM).they("blue")
    made.direct_chat(SAM, "SMS").they("green")

    imported(made, destination)

    (thread,) = destination.threads()
    assert sorted(thread["imessageIds"]) == [f"SMS;-;{SAM}", SAM_CHAT]
    assert destination.texts(SAM_CHAT) == ["blue", "green"]


def test_a_message_of_two_chats_is_sent_once(made: MadeChatDb, destination: GatewayDestination) -> None:
    first, second = made.direct_chat(SAM), made.direct_chat("kim@example.com")
    made.message(first.chat_id, second.chat_id, attributedBody=attributed_body("hello"), handle_id=first.handle_id)

    summary = imported(made, destination)

    assert (summary.messages.created, sum(destination.batches)) == (1, 1)


def test_rows_that_a_restore_repeated_are_sent_once(made: MadeChatDb, destination: GatewayDestination) -> None:
    sam = made.direct_chat(SAM)
    time = apple_date(START)
    sam.they("hello", date=time)
    sam.they("hello", date=time)
    sam.they("hello", date=time + 1_000)

    summary = imported(made, destination)

    assert destination.texts(SAM_CHAT) == ["hello", "hello"]
    assert summary.left_out == {"repeats another row, as after a restore": 1}


def test_damaged_rows_are_named_and_passed_over(made: MadeChatDb, destination: GatewayDestination) -> None:
    sam = made.direct_chat(SAM)
    sam.they("before")
    damaged = [
        sam.they(attributedBody=b"\x04\x0bstreamtyped\x81\xe8"),
        sam.they("x", date="yesterday"),
        sam.they("x", date=2**63 - 1),
        sam.they("x", date=None),
        sam.they("x" * 100_001),
        sam.they(text=b"a text as bytes"),
        sam.they(associated_message_type=2000),
        made.group(None, sam.handle_id).they("whose?", handle_id=99),
    ]
    damaged.append(not_unicode := sam.they())
    made.db.execute("update message set text = cast(x'80ff' as text) where guid = ?", [not_unicode])
    sam.they("after", handle_id=99)  # a chat with one person says itself who wrote

    summary = imported(made, destination)

    names = [name for some in summary.damaged.values() for name in some]
    assert sorted(names) == sorted(f"message {made.row_of(guid)}" for guid in damaged)
    assert destination.texts(SAM_CHAT) == ["before", "after"]
    assert "whose?" not in "\n".join(summary.lines())


def test_what_is_no_message_is_left_out_with_its_reason(made: MadeChatDb, destination: GatewayDestination) -> None:
    sam = made.direct_chat(SAM)
    sam.they("hello")
    made.message(attributedBody=attributed_body("deleted"), handle_id=sam.handle_id)
    sam.they()
    sam.i("never arrived", error=22)
    sam.i("tomorrow", schedule_type=2, is_sent=0)
    sam.they(associated_message_type=4000, associated_message_guid="bp:poll")

    summary = imported(made, destination)

    assert destination.texts(SAM_CHAT) == ["hello"]
    assert dict(summary.left_out) == {
        "in no chat, such as a message that was deleted": 1,
        "nothing in it": 1,
        "could not be sent": 1,
        "scheduled and not sent": 1,
        "vote in a poll": 1,
    }


def test_of_an_edited_message_whose_versions_cannot_be_read_the_body_counts(made: MadeChatDb, destination: GatewayDestination) -> None:
    sam = made.direct_chat(SAM)
    edited = apple_date(START + timedelta(hours=1))
    sam.they("at seven", message_summary_info=b"bplist00damaged", date_edited=edited)
    lost = sam.they(message_summary_info=b"bplist00damaged", date_edited=edited)

    summary = imported(made, destination)

    assert [(each["text"], each["editedAt"]) for each in destination.messages(SAM_CHAT)] == [("at seven", "2026-03-06T13:00:00Z")]
    assert [name for some in summary.damaged.values() for name in some] == [f"message {made.row_of(lost)}"]


def test_an_emoji_that_only_the_text_has_is_found_there(made: MadeChatDb, destination: GatewayDestination) -> None:
    sam = made.direct_chat(SAM)
    joke = sam.i("joke")
    sam.they("Reacted 🫠 to “joke”", associated_message_guid=f"p:0/{joke}", associated_message_type=2006)

    imported(made, destination)

    assert [each["type"] for each in destination.messages(SAM_CHAT)[0]["reactions"]] == ["🫠"]


def test_an_edit_without_a_date_is_told_by_its_versions(made: MadeChatDb, destination: GatewayDestination) -> None:
    sam = made.direct_chat(SAM)
    info = summary_info(sent=1, edited={0: ["at six", "at seven"]})
    sam.they(text="at six", attributedBody=None, message_summary_info=info, date_edited=None)

    imported(made, destination)

    (message,) = destination.messages(SAM_CHAT)
    assert (message["text"], message["editedAt"]) == ("at seven", "2026-02-28T19:33:21Z")


def test_a_message_that_was_edited_to_a_link_says_it_once(made: MadeChatDb, destination: GatewayDestination) -> None:
    sam = made.direct_chat(SAM)
    info = summary_info(sent=2, edited={1: ["here we go", "https://example.com/a"]})
    sam.they("https://example.com/a", message_summary_info=info, date_edited=apple_date(START + timedelta(hours=1)))

    imported(made, destination)

    assert destination.texts(SAM_CHAT) == ["https://example.com/a"]
