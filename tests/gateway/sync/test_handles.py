"""One spelling for what a person is reached by."""

import pytest

from gateway.sync.handles import (
    LONGEST_HANDLE,
    handle_of,
    is_group_identifier,
    other_spellings,
    peer_of,
    phone_number,
)


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        (" Anna@Example.COM ", "anna@example.com"),
        ("mailto:Anna@Example.com?subject=Hi", "anna@example.com"),
        ("MAILTO:anna@example.com", "anna@example.com"),
        ("cafe\u0301@example.com", "caf\u00e9@example.com"),
        ("+1 (415) 555-0100", "+14155550100"),
        ("+1.415.555.0100", "+14155550100"),
        ("tel:+1-415-555-0100", "+14155550100"),
        ("TEL:+1-415-555-0100;ext=12", "+14155550100"),
        ("tel:415-555-0100;phone-context=+1", "+14155550100"),
        ("0049 171 1234567", "+491711234567"),
        ("\u202a+1\u00a0(415)\u00a0555\u20110100\u202c", "+14155550100"),
        ("＋１４１５５５５０１００", "+14155550100"),  # noqa: RUF001
        ("(415) 555-0100", "4155550100"),
        ("0171/1234567", "01711234567"),
        ("72345", "72345"),
        ("٧٢٣٤٥", "72345"),
        ("1-23", "1-23"),
        ("contact-id-1", "contact-id-1"),
        ("AMAZON", "AMAZON"),
        ("2024-01-01T12:00", "2024-01-01T12:00"),
        ("01A2B3C4-0000-7000-8000-000000000001", "01a2b3c4-0000-7000-8000-000000000001"),
        ("+", "+"),
        ("tel:", "tel:"),
        ("\u200e", "\u200e"),
        ("İ" * (LONGEST_HANDLE - 4) + "@b.c", "İ" * (LONGEST_HANDLE - 4) + "@b.c"),
    ],
)
def test_a_handle_has_one_spelling(written: str, stored: str) -> None:
    assert handle_of(written) == stored
    assert handle_of(stored) == stored


@pytest.mark.parametrize(
    ("written", "region", "stored"),
    [
        ("(415) 555-0100", "US", "+14155550100"),
        ("0171 1234567", "DE", "+491711234567"),
        ("06 698 12345", "IT", "+390669812345"),
        ("555-0100", "US", "5550100"),
        ("1-800-FLOWERS", "US", "+18003569377"),
        ("٠١٠٠١٢٣٤٥٦٧", "EG", "+201001234567"),
        ("211234", "FO", "+298211234"),
        ("911", "US", "911"),
        ("*123#", "US", "*123#"),
    ],
)
def test_a_number_is_of_its_region_if_it_can_be_one(written: str, region: str, stored: str) -> None:
    assert phone_number(written, region) == stored


@pytest.mark.parametrize("text", ["", "call me", "#", "7", "+", "1" * 30, "a" * 320])
def test_what_is_no_number_is_said(text: str) -> None:
    assert phone_number(text, "US") is None


def test_a_number_is_known_without_its_country_code_too() -> None:
    assert other_spellings("+491711234567") == ["01711234567", "491711234567"]
    assert other_spellings("+14155550100") == ["4155550100", "14155550100"]
    assert other_spellings("72345") == other_spellings("anna@example.com") == []


@pytest.mark.parametrize(
    ("identifier", "peer"),
    [
        ("iMessage;-;+15550100001", "+15550100001"),
        ("SMS;-;+1 (555) 010-0001", "+15550100001"),
        ("any;-;John@Example.com", "john@example.com"),
        ("SMS;-;72345", "72345"),
        ("iMessage;-;urn:biz:1-2;3", "urn:biz:1-2;3"),
        ("+15550100001", "+15550100001"),
        ("John@Example.com", "john@example.com"),
        ("iMessage;+;chat123456", None),
        ("iMessage;+;+15550100001", None),
        ("iMessage;-;", None),
        ("iMessage;-;  ", None),
        ("iMessage;-;" + "x" * 400, None),
        ("chat123456", None),
        ("15550100001", None),
        ("thread of john@example.com", None),
        ("a;b@c", None),
        (";", None),
    ],
)
def test_an_identifier_may_say_whom_a_chat_is_with(identifier: str, peer: str | None) -> None:
    assert peer_of(identifier) == peer
    assert is_group_identifier(identifier) == (";+;" in identifier)
