"""Address books: vCard files and macOS' databases."""

import sqlite3
from pathlib import Path

import pytest
from assistant_client.importers.failures import UnreadableSource
from assistant_client.importers.people import Person, cards_of
from assistant_client.models import MessageBatch, SyncedMessage

from tests.clients.importers.gateway_destination import GatewayDestination
from tests.clients.importers.importing import imported, imported_file
from tests.clients.importers.made_chat_db import START, MadeChatDb

CARDS = {
    "2.1, as Android writes it": (
        "BEGIN:VCARD\r\nVERSION:2.1\r\nN;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:=4D=C3=BC=6C=6C=65=72;=4A=C3=B6=72=67;;;\r\n"
        "FN;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:=4A=C3=B6=72=67=20=\r\n=4D=C3=BC=6C=6C=65=72\r\n"
        "TEL;CELL;PREF:+49 170 1234567\r\nEND:VCARD\r\n",
        ["Jörg Müller"],
    ),
    "3.0, as macOS writes it": (
        "BEGIN:VCARD\nVERSION:3.0\nN:Doe;John;Q;;\nFN:John\n  Doe\\, Jr.\n"
        "item1.TEL;type=CELL:+1 (415) 555-0100\nitem1.X-ABLabel:_$!<Mobile>!$_\n"
        "PHOTO;ENCODING=b;TYPE=JPEG:/9j/4AAQ\n SkZJRg\nEMAIL;type=INTERNET;type=HOME:John@Example.com\nEND:VCARD\n",
        ["John Doe, Jr."],
    ),
    "4.0": ('BEGIN:VCARD\nVERSION:4.0\nFN:Kim\nTEL;VALUE=uri;TYPE="voice,home":tel:+33-1-23-45-67-89\nEND:VCARD\n', ["Kim"]),
    "without FN, with a mark before it": ("\ufeffBEGIN:VCARD\nVERSION:3.0\nN:Doe;Jane;;;\nTEL:+14155550101\nEND:VCARD\n", ["Jane Doe"]),
    "a damaged one between two": (
        "BEGIN:VCARD\nFN:One\nTEL:+14155550111\nEND:VCARD\nBEGIN:VCARD\nnothing of sense\nEND:VCARD\n"
        "BEGIN:VCARD\nFN:Cut\nBEGIN:VCARD\nFN:Three\nTEL:+14155550113\nEND:VCARD\n",
        ["One", "Three"],
    ),
}


def names(destination: GatewayDestination, *handles: str) -> list[str]:
    """What the people of these handles are called: by a message of each."""

    for handle in handles:
        message = SyncedMessage(imessage_guid=handle, sender_id=handle, direction="incoming", message_type="text", sent_at=START, text="hi")
        destination.sync_messages(MessageBatch(conversation_imessage_id=f"iMessage;-;{handle}", messages=[message]))
    return [destination.messages(f"iMessage;-;{handle}")[0]["senderName"] for handle in handles]


@pytest.mark.parametrize("content", CARDS.values(), ids=CARDS.keys())
def test_cards_of_all_versions_are_read(tmp_path: Path, destination: GatewayDestination, content: tuple[str, list[str]]) -> None:
    (tmp_path / "contacts.vcf").write_text(content[0], encoding="utf-8", newline="")

    summary = imported_file(tmp_path / "contacts.vcf", destination)

    assert summary.contacts.created == len(content[1])


def test_damaged_cards_are_named(tmp_path: Path) -> None:
    (tmp_path / "contacts.vcf").write_text(CARDS["a damaged one between two"][0])

    summary = imported_file(tmp_path / "contacts.vcf", None)

    assert sorted(name for some in summary.damaged.values() for name in some) == ["card in line 5", "card in line 8"]


def test_all_handles_of_a_person_are_one_contact(tmp_path: Path, destination: GatewayDestination) -> None:
    (tmp_path / "contacts.vcf").write_text(
        "BEGIN:VCARD\nVERSION:3.0\nFN:Sam\nTEL:+14155550100\nTEL:+14155550102\nEMAIL:sam@example.com\nEMAIL:sam@example.org\nEND:VCARD\n"
        "BEGIN:VCARD\nVERSION:3.0\nFN:Kim\nTEL:+14155550103\nTEL:+14155550104\nEND:VCARD\n"
    )

    imported_file(tmp_path / "contacts.vcf", destination)

    assert names(destination, "+14155550100", "+14155550102", "sam@example.org") == ["Sam"] * 3
    assert names(destination, "+14155550103", "+14155550104") == ["Kim"] * 2
    assert len(destination.threads()) == 2


def test_a_person_without_a_number_is_left_out() -> None:
    assert list(cards_of(Person("card", "Nobody", ("",), ("no address",)))) == []


def test_contacts_of_macos_name_the_people_of_chat_db(tmp_path: Path, made: MadeChatDb, destination: GatewayDestination) -> None:
    folder = tmp_path / "AddressBook" / "Sources" / "1"
    folder.mkdir(parents=True)
    db = sqlite3.connect(folder / "AddressBook-v22.abcddb")
    db.executescript("""
        create table ZABCDRECORD (Z_PK integer primary key, ZFIRSTNAME text, ZLASTNAME text, ZORGANIZATION text, ZUNIQUEID text);
        create table ZABCDPHONENUMBER (Z_PK integer primary key, ZOWNER integer, ZFULLNUMBER text);
        create table ZABCDEMAILADDRESS (Z_PK integer primary key, ZOWNER integer, ZADDRESS text);
        insert into ZABCDRECORD values (1, 'Sam', 'Doe', null, 'U-1'), (2, null, null, 'Pizzeria', 'U-2'), (3, 'No', 'Handle', null, 'U-3');
        insert into ZABCDPHONENUMBER values (1, 1, '(415) 555-0100'), (2, 2, '+1 415 555 0122');
        insert into ZABCDEMAILADDRESS values (1, 1, 'sam@example.com');
    """)
    db.close()
    made.direct_chat("sam@example.com").they("hi")

    imported_file(tmp_path / "AddressBook", destination)
    imported(made, destination)

    assert destination.messages("iMessage;-;sam@example.com")[0]["senderName"] == "Sam Doe"


def test_a_folder_without_contacts_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(UnreadableSource, match="nothing of a kind that is known"):
        imported_file(tmp_path, None)
