from piccolo.columns import UUID, Bytea, Integer, Timestamptz, Varchar
from piccolo.constraints import Unique
from piccolo.table import Table


class IdempotentAnswer(Table):
    """The first answer to a request that carried an Idempotency-Key.

    `scope` is whose key it is. The key is stored hashed and the answer encrypted under it, so the table alone shows nobody's answers.
    `status` is null while the first request still runs.
    """

    id = UUID(primary_key=True, default=None)
    scope = Varchar(length=100)
    key_hash = Bytea()
    fingerprint = Bytea()
    status = Integer(null=True, default=None)
    answer = Bytea(null=True, default=None)
    created_at = Timestamptz()

    idempotent_answer_key = Unique([scope, key_hash])
