# ruff: noqa: RUF001  # quotation marks and letters of many scripts
"""What phones write by themselves is told from what people write."""

from pathlib import Path

import pytest

from gateway.message_text import phone_reports
from gateway.message_text.phone_reports import emoji_of, is_phone_report

REPORTS = [
    "Liked “see you at 8”", "Loved “a\nb”", "Laughed at \"haha\"", "Liked 'I'm fine'",
    "Emphasized “he said “no” again”", "Liked “5” screen”",
    "Loved an image", "Removed a heart from “ok”", "Removed ‼️ from “x”", "Reacted ❤️ to an image", "Reacted 1️⃣ to “x”", "👍 to “x”",
    "\u200a\u200b👍\u200b to “\u200ahello\u200a”\u200a", "\u200aRemoved \u200c👍\u200c from “\u200ahello\u200a”\u200a",
    "\u200aRagált \u200b👍\u200b erre: “\u200aszia\u200a”\u200a",  # Google's marks tell in languages that are not in the table
    "Liked “Hey, the text is so long that the phone sent it in parts",
    "Gefällt mir: „bis 8“", "„Bis morgen“ ein Herz hinzugefügt", "„Gefällt mir“ von „bis 8“ entfernt", "Hat mit 😂 auf „x“ reagiert",
    "A ajouté un « J’adore » à « À demain ».", "a retiré son « J’aime » de « x »", "A re\u0301agi avec 👍 à « x »",
    "Le encantó “x”", "Ha eliminado 👍 de “x”.", "Ha aggiunto “Mi piace” a “ci vediamo”", "Curtiu “x”", "Vond ‘tot 8’ leuk",
    "Vond een afbeelding leuk", "Gillade ”vi ses”", "Dodano „kciuk w górę” do „do jutra”", "Понравилось «до встречи»", "Kalp eklendi: “x”",
    "“\u200aまた明日\u200a”に\u200a👀\u200aでリアクションしました", "‘내일 봐’에서 👀 표시 제거함", "喜欢“晚上吃饭”", "对“x”表示了👍",
    "Edited to “at nine”", "Editado como: \"a las nueve\"", "Bearbeitet in „um neun“", "编辑为“九点”",
]  # fmt: skip
WORDS = [
    "Liked it a lot", "Loved the film “Heat”, you too?", "Loved “Heat” and “Alien”", "Loved it", "Loved an image of you", "I liked “x”",
    "Liked",
    "Questioned whether that is open", "Go to \"the door\"", "He said “no” again", "Bonjour « toi »", "A aimé ça", "J'ai adoré « le film »",
    "Merci to be fair", "Edited to make it shorter", "👍", "👍 to you", "lol 😂", "!!", "? to be seen", "“x”", "“x” 👍",
    "我喜欢“x”这部电影", "明天见",
]  # fmt: skip


@pytest.mark.parametrize("text", REPORTS)
def test_a_report_is_recognised(text: str) -> None:
    assert is_phone_report(text)


@pytest.mark.parametrize("text", WORDS)
def test_what_merely_looks_alike_is_somebodys_words(text: str) -> None:
    assert not is_phone_report(text)


TABLE = Path(phone_reports.__file__).with_name("phone_reports.tsv").read_text("utf-8")
LINES = [tuple(line.split("\t")) for line in TABLE.splitlines()[1:]]
LANGUAGES = list(dict.fromkeys(language for language, _, _ in LINES))
QUOTATIONS = ("“see you”", "„bis „8““", "« à demain »", "「またね」", '"ok"', "‘it’s ok’")


def forms(language: str) -> list[tuple[str, str]]:
    """The kind of each form of a language, and the form."""
    return [(kind, text) for of, kind, text in LINES if of == language and kind != "thing"]


def things(language: str) -> list[str]:
    """What may stand for a quotation in a reaction."""
    return [text for of, kind, text in LINES if of == language and kind == "thing"]


def filled(form: str, quoted: str, *, emoji: str = "👍🏽") -> str:
    return form.replace("{q}", quoted).replace("{e}", emoji).replace("{r}", "“Mi piace”")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_form_in_the_table_is_recognised_with_every_quotation(language: str) -> None:
    missed = [
        filled(form, quoted)
        for kind, form in forms(language)
        for quoted in (*QUOTATIONS, *(things(language) if kind == "reaction" else ()))
        if not is_phone_report(filled(form, quoted))
    ]

    assert missed == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_form_is_recognised_with_words_before_or_after_it(language: str) -> None:
    mistaken = [
        text
        for _, form in forms(language)
        for text in (f"Oh: {filled(form, '“see you”')}", f"{filled(form, '“see you”')} right?")
        if is_phone_report(text)
    ]

    assert mistaken == []


@pytest.mark.parametrize(
    ("text", "emoji"),
    [
        ("🎉", "🎉"), ("Reacted 😂 to “the 🎉”", "😂"), ("“また明日”に👀でリアクションしました", "👀"), ("Removed 👍🏽 from “x”", "👍🏽"),
        ("👩‍👩‍👧‍👦", "👩‍👩‍👧‍👦"),
        ("1️⃣", "1️⃣"), ("hello", None), ("", None), ("Loved “x 🎉”", None),
    ],
)  # fmt: skip
def test_the_emoji_of_a_reaction_is_found_outside_of_what_it_quotes(text: str, emoji: str | None) -> None:
    assert emoji_of(text) == emoji


@pytest.mark.parametrize(
    "text", ["“" * 50_000, "“x”" * 30_000, "“" + "x" * 90_000 + "”に", "'" * 99_999, "Loved " + "“a” " * 20_000, "👍" * 50_000]
)
def test_a_text_full_of_marks_is_no_report(text: str) -> None:
    assert not is_phone_report(text)
    assert emoji_of(text) in (None, "👍")
