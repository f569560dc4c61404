from uuid import UUID

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.engine import engine_finder
from piccolo.querystring import QueryString

from gateway.message_text.phone_reports import is_wordless
from gateway.message_text.search_words import search_document

ID = "2026-11-26T13:07:12:104208"
VERSION = "1.38.0"
DESCRIPTION = "Search looks in words that are stored, of any script; and the messages so far know what is in their text"

BEFORE = ["drop index message_text", "alter table message add column search tsvector"]
AFTER = ["create index message_search on message using gin (search)"]
BACKWARDS = [
    "drop index message_search",
    "alter table message drop column search",
    "create index message_text on message using gin (to_tsvector('simple', text)) where text is not null",
]
_AT_ONCE = 2_000  # messages
NEXT = """
    select id, text, associated_message_type from message where text is not null and id > {} order by id limit {}
"""
FILL_IN = """
    update message set wordless = filled.wordless, search = filled.search::tsvector
    from unnest({}::uuid[], {}::boolean[], {}::text[]) filled (id, wordless, search)
    where message.id = filled.id and (filled.wordless or filled.search is not null)
"""


async def run(statements: list[str]) -> None:
    engine = engine_finder()
    assert engine is not None
    for statement in statements:
        await engine.run_ddl(statement)


async def fill_in() -> None:
    engine = engine_finder()
    assert engine is not None
    after = UUID(int=0)
    while rows := await engine.run_querystring(QueryString(NEXT, after, _AT_ONCE)):
        after = rows[-1]["id"]
        wordless = [is_wordless(row["text"], row["associated_message_type"]) for row in rows]
        search = [search_document(row["text"]) for row in rows]
        await engine.run_querystring(QueryString(FILL_IN, [row["id"] for row in rows], wordless, search))


async def create() -> None:
    await run(BEFORE)
    await fill_in()
    await run(AFTER)


async def drop() -> None:
    await run(BACKWARDS)


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="gateway", description=DESCRIPTION)
    manager.add_raw(create)
    manager.add_raw_backwards(drop)
    return manager
