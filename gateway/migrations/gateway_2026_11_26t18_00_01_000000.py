"""What Piccolo cannot express: indexes with an order or a condition, and the column of a type that it does not know."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.engine import engine_finder

ID = "2026-11-26T18:00:01:000000"
VERSION = "1.38.0"
DESCRIPTION = "The indexes"

STATEMENTS = """
alter table message add column search tsvector;
create index message_search on message using gin (search);
create index message_by_time on message (conversation_id, sent_at desc, id desc);
create index message_by_target on message (account_id, associated_message_guid) where associated_message_guid is not null;
create index conversation_by_time on conversation (account_id, last_message_at desc nulls last, id desc);
create index direct_chat_by_peer on direct_chat (account_id, peer);

create index response_by_time on response (account_id, created_at desc, id desc);
create index response_by_conversation on response (conversation_id);
create index response_by_device on response (device_id);
create index response_by_look on response (look_at) where request is not null;
create index response_waiting on response (account_id) where request is not null;

create index sample_by_time on sample (account_id, created_at desc, id desc);
create unique index training_job_running on training_job (device_id) where status in ('queued', 'training', 'evaluating');
create index training_job_by_time on training_job (account_id, created_at desc, id desc);
create index training_job_by_look on training_job (look_at) where look_at is not null;
create unique index adapter_active on adapter (account_id) where active;
create index adapter_by_time on adapter (account_id, created_at desc, id desc);
create index deletion_order_by_look on deletion_order (look_at);

create index idempotent_answer_by_age on idempotent_answer (created_at);

create index workspace_conversation_by_time on workspace_conversation (account_id, project, updated_at desc, id desc);
create index workspace_conversation_running on workspace_conversation (alive_at) where statement_id is not null;
"""


async def create() -> None:
    engine = engine_finder()
    assert engine is not None
    for statement in STATEMENTS.split(";"):
        if statement.strip():
            await engine.run_ddl(statement)


async def keep() -> None:
    """All of it goes with the tables."""


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="gateway", description=DESCRIPTION)
    manager.add_raw(create)
    manager.add_raw_backwards(keep)
    return manager
