"""What a training learns from, read from the real database."""

import asyncio
import json
import tracemalloc
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from gateway.database import Database
from gateway.training import training_set as training_set_module
from gateway.training.training_set import TrainingSet, training_set
from shared.contracts.training import TrainingMethod, TrainingSample
from shared.errors import BadRequest
from tests.factories import Device, own_rows, paired_device
from tests.fixtures.database import rows
from tests.fixtures.gateway import GatewayProcess

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


class Teacher:
    """An account with samples."""

    def __init__(self, owner: Device, database_url: str) -> None:
        self._account_id = owner.account_id
        self._database_url = database_url
        self._conversation_id = own_rows(database_url, owner)["conversation_id"]
        rows(database_url, "delete from sample where account_id = $1", self._account_id)
        self._count = 0

    def add(
        self,
        source: str,
        output: str | None,
        rejected: str | None = None,
        *,
        answered: UUID | None = None,
        asked: str = "Dinner?",
        quality: float = 1.0,
        age: int = 0,
    ) -> UUID:
        """A sample that was said `age` days before those that say nothing of it, which were said one after the other."""
        sample_id = uuid4()
        self._count += 1
        rows(
            self._database_url,
            "insert into sample (id, account_id, conversation_id, source, messages, message_ids, answered_id, output, rejected_output,"
            " quality, replied_at, created_at) values ($1, $2, $3, $4, $5, array[$6::uuid], $6, $7, $8, $9, $10, now())",
            sample_id,
            self._account_id,
            self._conversation_id,
            source,
            json.dumps([{"role": "system", "content": "You are the owner"}, {"role": "user", "content": asked}]),
            answered or uuid4(),
            output,
            rejected,
            0.0 if source == "reject" else quality,
            BEGAN + timedelta(minutes=self._count) - timedelta(days=age),
        )
        return sample_id

    def fill(self, count: int, *, characters: int) -> None:
        """So many samples with long prompts."""
        rows(
            self._database_url,
            "insert into sample (id, account_id, source, messages, message_ids, output, quality, replied_at, created_at)"
            " select gen_random_uuid(), $1, 'history', jsonb_build_array(jsonb_build_object('role', 'user', 'content', repeat('x', $3))),"
            " '{}', 'sure', 1, now(), now() from generate_series(1, $2)",
            self._account_id,
            count,
            characters,
        )

    def teach(self, method: TrainingMethod = "sft", sample_ids: list[UUID] | None = None, limit: int = 100) -> TrainingSet:
        async def read() -> TrainingSet:
            database = Database(self._database_url, pool_size=1)
            await database.open()
            try:
                async with database.transaction() as db:
                    return await training_set(db, self._account_id, method=method, sample_ids=sample_ids, limit=limit)
            finally:
                await database.close()

        return asyncio.run(read())

    def outputs(self, **wanted: Any) -> list[str]:
        return [sample.output for sample in self.teach(**wanted).samples]

    def pairs(self, **wanted: Any) -> list[tuple[str, str | None]]:
        return [(sample.output, sample.rejected_output) for sample in self.teach("dpo", **wanted).samples]


@pytest.fixture
def teacher(gateway: GatewayProcess, database_url: str) -> Teacher:
    return Teacher(paired_device(gateway.url), database_url)


def test_outputs_are_taught_in_the_order_they_were_said(teacher: Teacher) -> None:
    teacher.add("accept", "second", age=1)
    edited = teacher.add("edit", "third", "a draft")
    teacher.add("history", "first", age=2, quality=0.75)

    taught = teacher.teach()

    assert [(sample.output, sample.rejected_output, sample.quality) for sample in taught.samples] == [
        ("first", None, 0.75),
        ("second", None, 1.0),
        ("third", None, 1.0),
    ]
    last: TrainingSample = taught.samples[-1]
    assert (last.id, last.input, last.at) == (str(edited), None, BEGAN + timedelta(minutes=2))
    assert last.messages is not None
    assert [turn.content for turn in last.messages] == ["You are the owner", "Dinner?"]
    assert taught.sample_ids == [UUID(sample.id) for sample in taught.samples if sample.id]


def test_what_says_nothing_is_not_taught(teacher: Teacher) -> None:
    teacher.add("reject", None, "a draft")
    teacher.add("accept", " \n")
    teacher.add("accept", "worthless", quality=0.0)
    teacher.add("accept", "call 415-555-0132")
    teacher.add("accept", "415-555-0132")

    assert teacher.outputs() == ["call [phone]"]


def test_the_newest_are_taken_when_there_are_too_many(teacher: Teacher) -> None:
    for number in range(4):
        teacher.add("accept", f"output {number}")

    assert teacher.outputs(limit=2) == ["output 2", "output 3"]


def test_as_many_are_taken_as_have_room(teacher: Teacher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_set_module, "MOST_BYTES", 2**20)
    for number in range(30):
        teacher.add("accept", f"output {number}", asked="x" * 100_000)

    assert teacher.outputs() == [f"output {number}" for number in range(20, 30)]


def test_of_those_that_were_named_none_is_left_out_unsaid(teacher: Teacher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_set_module, "MOST_BYTES", 2**20)
    named = [teacher.add("accept", "output", asked="x" * 100_000) for _ in range(11)]

    assert len(teacher.outputs(sample_ids=named[1:])) == 10
    with pytest.raises(BadRequest, match="choose fewer"):
        teacher.outputs(sample_ids=named)


def test_what_has_no_room_is_never_in_memory(teacher: Teacher, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred megabytes of samples, of which two have room."""
    monkeypatch.setattr(training_set_module, "MOST_BYTES", 2 * 2**20)
    teacher.fill(1000, characters=100_000)
    tracemalloc.start()
    try:
        taught = teacher.teach(limit=20_000)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert len(taught.samples) == 20
    assert most < 30 * 2**20


def test_drafts_are_preferred_as_the_owner_did(teacher: Teacher) -> None:
    answered = uuid4()
    refused = teacher.add("reject", None, "refused", answered=answered)
    teacher.add("reject", None, "refused elsewhere")
    edited = teacher.add("edit", "edited", "drafted")
    said = teacher.add("history", "said", answered=answered, quality=0.75)
    accepted = teacher.add("accept", "accepted", answered=answered)
    teacher.add("accept", "accepted elsewhere")

    taught = teacher.teach("dpo")

    assert [(sample.output, sample.rejected_output, sample.id) for sample in taught.samples] == [
        ("edited", "drafted", str(edited)),
        ("said", "refused", str(said)),
        ("accepted", "refused", str(accepted)),
    ]
    assert set(taught.sample_ids) == {refused, edited, said, accepted}


def test_an_edit_is_preferred_to_every_draft_of_its_message(teacher: Teacher) -> None:
    answered = uuid4()
    teacher.add("reject", None, "refused", answered=answered)
    teacher.add("edit", "edited", "drafted", answered=answered)

    assert sorted(teacher.pairs()) == [("edited", "drafted"), ("edited", "refused")]


def test_nothing_is_preferred_to_the_same(teacher: Teacher) -> None:
    answered = uuid4()
    teacher.add("reject", None, "the  same", answered=answered)
    teacher.add("accept", "the same\n", answered=answered)
    teacher.add("edit", "as it was", "as it was")
    teacher.add("edit", "something", " ")

    assert teacher.pairs() == []


def test_only_the_samples_that_were_named(teacher: Teacher) -> None:
    answered = uuid4()
    refused = teacher.add("reject", None, "refused", answered=answered)
    accepted = teacher.add("accept", "accepted", answered=answered)
    teacher.add("accept", "not named")

    assert teacher.outputs(sample_ids=[accepted, refused, accepted]) == ["accepted"]
    assert teacher.pairs(sample_ids=[accepted, refused]) == [("accepted", "refused")]
    assert teacher.pairs(sample_ids=[accepted]) == []
    assert teacher.outputs(sample_ids=[]) == []


def test_unknown_and_foreign_samples_are_counted(teacher: Teacher, gateway: GatewayProcess, database_url: str) -> None:
    foreign = own_rows(database_url, paired_device(gateway.url))["sample_id"]
    own = teacher.add("accept", "own")

    with pytest.raises(BadRequest) as refused:
        teacher.teach(sample_ids=[own, foreign, uuid4()])

    assert [(problem.field, problem.message.split()[0]) for problem in refused.value.details] == [("sampleIds", "2")]


def test_personal_data_is_masked_where_the_import_has_not_decided(teacher: Teacher) -> None:
    teacher.add("edit", "it's 4821, mail bob@example.com", "it's 1234", asked="What is the door code? Call +1 415 555 0132")
    teacher.add("history", "mail bob@example.com", asked="Call +1 415 555 0132")

    (pair,) = teacher.teach("dpo").samples
    said = teacher.teach().samples[-1]

    assert pair.messages is not None
    assert said.messages is not None
    assert pair.messages[-1].content == "What is the door code? Call [phone]"
    assert (pair.output, pair.rejected_output) == ("it's [code], mail [email]", "it's [code]")
    assert (said.messages[-1].content, said.output) == ("Call +1 415 555 0132", "mail bob@example.com")
