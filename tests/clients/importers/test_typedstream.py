"""Reading attributed texts. The first blob has the bytes that NSArchiver writes; the others are made by the tests' own writer."""

from contextlib import suppress

import pytest
from assistant_client.importers.apple.attributed import attributed_text
from assistant_client.importers.apple.typedstream import TypedStreamError
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.clients.importers.made_typedstream import attributed_body, numbered_body

HELLO = bytes.fromhex(
    "040b73747265616d747970656481e803840140848484124e5341747472696275746564537472696e67008484084e534f626a656374008592848484084e5353"
    "7472696e67019484012b0568656c6c6f86840269490105928484840c4e5344696374696f6e617279009484016901928496961d5f5f6b494d4d657373616765"
    "506172744174747269627574654e616d658692848484084e534e756d626572008484074e5356616c7565009484012a84999900868686"
)


def test_what_nsarchiver_writes_is_read() -> None:
    read = attributed_text(HELLO)

    assert (read.text, read.parts) == ("hello", {0: "hello"})


@pytest.mark.parametrize(
    "text", ["", "a", "x" * 127, "x" * 128, "y" * 40_000, "y" * 70_000, "Grüße 👨‍👩‍👧 日本語", "two\nlines\u2028three"]
)
def test_texts_of_all_lengths_and_scripts_come_back(text: str) -> None:
    for mutable in (False, True):
        assert attributed_text(attributed_body(text, mutable=mutable)).text == text


def test_parts_keep_their_numbers_behind_characters_of_two_units() -> None:
    read = attributed_text(numbered_body([(0, "🎉🎉 look"), (2, "\ufffc"), (3, "that was " + "long " * 100)]))

    assert read.parts == {0: "🎉🎉 look", 2: "\ufffc", 3: "that was " + "long " * 100}


def test_what_messages_found_in_a_text_is_passed_over() -> None:
    body = numbered_body([(0, "meet at "), (1, "the station, tomorrow")], found=bytes(range(256)) * 3, link="https://example.com/a")

    assert attributed_text(body).parts == {0: "meet at ", 1: "the station, tomorrow"}


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300), min_size=1, max_size=150))
def test_any_parts_come_back(parts: list[str]) -> None:
    assert attributed_text(attributed_body(*parts)).parts == dict(enumerate(parts))


@settings(max_examples=500)
@given(st.data())
def test_a_damaged_stream_is_read_or_refused_and_nothing_else(data: st.DataObject) -> None:
    damaged = bytearray(attributed_body("see you", "at the station 🚉"))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    for blob in (bytes(damaged), cut):
        with suppress(TypedStreamError):
            attributed_text(blob)


HEAD = b"\x04\x0bstreamtyped\x81\xe8\x03"


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"bplist00",
        HEAD,
        HEAD + b"\x84\x01@\x84\x84\x84\x01A\x00\x85" + b"\x92\x84\x92" * 100_000,  # objects in objects
        HEAD + b"\x84\x01@\x84" + b"\x84\x84\x01A\x00" * 5_000,  # a class without an end
        HEAD + b"\x84\x0d[2000000000i]" + b"\x05",  # an array longer than the stream
        HEAD + b"\x84\x82\xff\xff\xff\x7f",  # a string of 2 GB
        HEAD + b"\x84\x81\xe8\x03" + b"{a=" * 333 + b"}",
        HEAD + b"\x84\x10" + b"{a={a={a={a=i}}}}"[:16],
    ],
)
def test_what_is_made_to_hurt_is_refused(blob: bytes) -> None:
    with pytest.raises(TypedStreamError):
        attributed_text(blob)
