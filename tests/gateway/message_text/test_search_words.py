"""The words of a text and of a search, as PostgreSQL's types are written."""

import asyncio

import asyncpg
import pytest

from gateway.message_text.search_words import search_document, search_query
from shared.errors import BadRequest


@pytest.mark.parametrize(
    ("text", "document"),
    [
        ("Hello, World! don't", "'hello':1 'world':2 'don':3 't':4"),
        ("e\u0301tude Étude ÉTUDE", "'étude':1 'étude':2 'étude':3"),
        ("हिन्दी में", "'हिन्दी':1 'में':2"),
        ("ok 👍🏽 ❤️", "'ok':1 '👍':2 '❤':3"),
        ("一起吃饭", "'一起':1 '起吃':2 '吃饭':3 '饭':4"),
        ("今晚7点ok", "'今晚':1 '晚':2 '7':3 '点':4 'ok':5"),
        ("ｶﾞ \uff21\uff22\uff23", "'ガ':1 'abc':2"),
        ("ไทย", "'ไท':1 'ทย':2 'ย':3"),
        ("학교에서", "'학교':1 '교에':2 '에서':3 '서':4"),
        ("… !", None),
        (None, None),
    ],
)
def test_a_text_has_words_in_any_script(text: str | None, document: str | None) -> None:
    assert search_document(text) == document


@pytest.mark.parametrize(
    ("words", "query"),
    [
        ("Dinner -off", "(('dinner') & !('off'))"),
        ('"at eight" or breakfast', "(('at' <1> 'eight')) | (('breakfast'))"),
        ('-"a b" c', "(!('a' <1> 'b') & ('c'))"),
        ("e-mail", "(('e' <1> 'mail'))"),
        ("今晚7点", "(('今晚' <2> '7' <1> '点':*))"),
        ("or", "(('or'))"),
        ("'", None),
        ("-", None),
        ("", None),
    ],
)
def test_a_search_is_its_terms(words: str, query: str | None) -> None:
    assert search_query(words) == query


@pytest.mark.parametrize("words", ["-zzz", "--zzz", '-"see you"', "salad or -soup", "-吃饭"])
def test_a_search_says_what_to_look_for(words: str) -> None:
    with pytest.raises(BadRequest, match="add a word to look for"):
        search_query(words)


HARD = [
    "a_b or 1 -2 0x1f 1e5 it's C:\\dir",
    "a" + "\u0301\u0316" * 49_999, "\u0301" * 1_000, "x" * 100_000, " ".join(map(str, range(20_000))), "\ufdfa" * 20_000, "ΐ " * 50_000,
    "'\\:&|!<>()" * 1_000, "\u3316" * 50_000, "".join(chr(0x20000 + number % 40_000) for number in range(100_000)),
    "".join(chr(number) for number in range(0x1, 0x11000) if not 0xD800 <= number < 0xE000),
]  # fmt: skip


@pytest.mark.parametrize("text", HARD, ids=range(len(HARD)))
def test_postgresql_takes_whatever_there_is(database_url: str, text: str) -> None:
    async def stored() -> bool:
        connection = await asyncpg.connect(database_url)
        try:
            looked_for = search_query(text[:200].replace("-", ""))
            query = "select length($1::text::tsvector) >= 0 and $2::text::tsquery is not distinct from $2::text::tsquery"
            return bool(await connection.fetchval(query, search_document(text) or "", looked_for))
        finally:
            await connection.close()

    assert asyncio.run(stored())
