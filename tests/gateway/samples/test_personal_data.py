"""What is masked, what is not, and that nothing leaks."""

import re
import time

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat
from stdnum import luhn
from stdnum.iso7064 import mod_97_10

from gateway.samples.personal_data import mask, mask_turns, says_something
from shared.contracts.generation import Turn

WORDS = st.sampled_from(["", "call me at ", "It's ", "Nummer: ", "call\n", "電話番号は", "(", "tel:"])
AFTER = st.sampled_from(["", " ok?", ".", "\nsee you at 7", ")", "、お願いします", ", thanks"])


# An account in Saint Lucia may have letters where others have digits.
_LETTERED_IBAN = f"LC{mod_97_10.calc_check_digits('BOSLABCDEFGHIJKLMNOPQRSTUVWXLC')}BOSLABCDEFGHIJKLMNOPQRSTUVWX"


def digits_left(masked: str) -> str:
    return "".join(character for character in masked if character.isdigit())


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Call 415-555-0132 or +44 (0) 20 7946 0958.", "Call [phone] or [phone]."),
        ("((415) 555-0132 ext. 12) or (+44) 20 7946 0958", "([phone]) or [phone]"),
        ("0151 23456789", "[phone]"),
        ("mail bob.o'neil+x@ex-ample.co.uk, please", "mail [email], please"),
        ("DE89 3704 0044 0532 0130 00 AND MORE", "[iban] AND MORE"),
        ("de89370400440532013000", "[iban]"),
        ("AB12 is not one, but DE89370400440532013000", "AB12 is not one, but [iban]"),
        (_LETTERED_IBAN * 2, "[iban][iban]"),
        ("card 4111 1111 1111 1111", "card [card]"),
        ("4111111111111111", "[card]"),
        ("reference 12345678901234567890", "reference [number]"),
        ("Your code is 482133", "Your code is [code]"),
        ("G-482133 is your Google verification code.", "[code] is your Google verification code."),
        ("Dein Bestätigungscode: 123 456", "Dein Bestätigungscode: [code]"),
        ("Votre code de sécurité : 4821", "Votre code de sécurité : [code]"),
        ("Tu clave es 12345", "Tu clave es [code]"),
        ("Ваш код: 9921", "Ваш код: [code]"),
        ("您的验证码是 884213", "您的验证码是 [code]"),
        ("認証コード\uff1a884213", "認証コード\uff1a[code]"),
        ("PIN 0815", "PIN [code]"),
        ("the password is X7K2P9", "the password is [code]"),
        ("your code:\n482133\nbye", "your code:\n[code]\nbye"),
    ],
)
def test_what_is_masked(text: str, masked: str) -> None:
    assert mask(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "on 24.12.2026 at 19:30", "2026-12-24", "12/24/2026", "from 10.30-11.45", "2025-2026", "see you at 1930", "it's 250,000 now",
        "room 1204, 3rd floor", "I'm 34 and he's 36", "that costs 1299", "@anna look", "spinning 2000 times", "kodak 5600",
    ],
)  # fmt: skip
def test_what_is_left_alone(text: str) -> None:
    assert mask(text) == text


def test_a_code_that_was_asked_for_right_before_is_masked() -> None:
    assert mask("4821", "hi\nwhat's the door code?") == "[code]"
    assert mask("4821", "what's the door code?\nand when?") == "4821"


def test_a_prompt_is_masked_turn_by_turn() -> None:
    turns = [Turn(role="user", content="PIN?"), Turn(role="assistant", content="0815"), Turn(role="user", content="thanks 0815")]

    assert [turn.content for turn in mask_turns(turns)] == ["PIN?", "[code]", "thanks 0815"]


@pytest.mark.parametrize(("masked", "something"), [("[phone]", False), ("[email], [code]!", False), ("[phone] ok", True), ("👍", True)])
def test_placeholders_say_nothing(masked: str, something: bool) -> None:
    assert says_something(masked) is something


EXAMPLES = [
    number
    for region in sorted(phonenumbers.SUPPORTED_REGIONS)
    for kind in (phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE)
    if (number := phonenumbers.example_number_for_type(region, kind)) is not None
]
FORMATS = (PhoneNumberFormat.E164, PhoneNumberFormat.INTERNATIONAL, PhoneNumberFormat.NATIONAL, PhoneNumberFormat.RFC3966)


@pytest.mark.parametrize("form", FORMATS)
def test_every_countrys_numbers_are_masked_in_every_form(form: int) -> None:
    written = [phonenumbers.format_number(number, form) for number in EXAMPLES]
    # Numbers of fewer than seven digits, without their country's code, are as any other.
    long_enough = [text for text in written if len(digits_left(text)) >= 7]

    leaks = [(text, masked) for text in long_enough if digits_left(masked := mask(f"call {text} now"))]

    assert leaks == []
    assert len(long_enough) > 400


@given(WORDS, st.sampled_from(EXAMPLES), st.sampled_from(FORMATS[:2]), AFTER)
def test_no_digit_of_a_phone_number_leaks(before: str, number: phonenumbers.PhoneNumber, form: int, after: str) -> None:
    masked = mask(before + phonenumbers.format_number(number, form) + after)

    assert digits_left(masked) == digits_left(after)
    assert "[phone]" in masked


@st.composite
def cards(draw: st.DrawFn) -> str:
    """A card's number as people write it."""
    body = draw(st.text("0123456789", min_size=12, max_size=18))
    number = body + luhn.calc_check_digit(body)
    separator = draw(st.sampled_from(["", " ", "-"]))
    return separator.join(number[start : start + 4] for start in range(0, len(number), 4))


@given(WORDS, cards(), AFTER)
def test_no_digit_of_a_card_leaks(before: str, card: str, after: str) -> None:
    assert mask(before + card + after) == f"{before}[card]{after}"


@st.composite
def ibans(draw: st.DrawFn) -> str:
    """A German or British account's number, in groups of four or not."""
    country, bban = draw(
        st.sampled_from(["DE", "GB"]).flatmap(
            lambda country: st.tuples(
                st.just(country), st.from_regex(r"[0-9]{18}" if country == "DE" else r"[A-Z]{4}[0-9]{14}", fullmatch=True)
            )
        )
    )
    number = f"{country}{mod_97_10.calc_check_digits(bban + country)}{bban}"
    return " ".join(number[start : start + 4] for start in range(0, len(number), 4)) if draw(st.booleans()) else number


@given(ibans(), AFTER)
def test_no_digit_of_an_iban_leaks(number: str, after: str) -> None:
    assert digits_left(mask(f"to {number}{after}")) == digits_left(after)


@given(WORDS, st.emails(), AFTER)
def test_no_part_of_an_address_leaks(before: str, address: str, after: str) -> None:
    masked = mask(f"{before} {address} {after}")

    assert "@" not in masked
    assert "[email]" in masked


@given(st.from_regex(r"[0-9]{4,8}", fullmatch=True), st.sampled_from(["Your code is {}", "{} ist dein Code", "otp:\n{}", "密码\uff1a{}"]))
def test_no_digit_of_a_code_leaks(code: str, sentence: str) -> None:
    assert digits_left(mask(sentence.format(code))) == ""


PIECES = st.sampled_from(
    [
        "code",
        "[code]",
        "[phone]",
        "PIN",
        "otp",
        "1234",
        "12345678",
        "+1",
        " ",
        "-",
        ".",
        "/",
        "\n",
        "@",
        "a@b.cd",
        "DE89",
        "x",
        "24.12.2026",
        "(",
        "ü",
    ]
)
ANYTHING = st.one_of(st.text(), st.lists(PIECES, max_size=20).map("".join), st.text("0123456789 +-./()\n@abCODEpin[]:"))


@given(ANYTHING, ANYTHING)
def test_masking_again_changes_nothing(text: str, before: str) -> None:
    masked = mask(text, before)

    assert mask(masked, before) == masked


@given(ANYTHING)
def test_seven_digits_in_a_row_never_stay(text: str) -> None:
    assert re.search(r"\d{7}", mask(text)) is None


HARD = [
    _LETTERED_IBAN * 1_250,
    (_LETTERED_IBAN + "4111111111111111") * 800,
    "DE00 " * 8_000,
    "DE00" * 10_000,
    "a" * 40_000 + "1",
    "a@" * 20_000,
    "a@" + "b." * 20_000 + "@1",
    "1 " * 20_000,
    "(1" * 20_000,
    "24.12.2026." * 4_000,
    "A-" * 20_000 + "1 code",
    "code A1\n" * 5_000,
]


@pytest.mark.parametrize("text", HARD, ids=lambda text: text[:12])
def test_a_text_that_is_made_to_be_hard_takes_as_long_as_any_other(text: str) -> None:
    began = time.process_time()
    mask(text, "code?")

    assert time.process_time() - began < 3  # it took more than five where the time grows with the square
