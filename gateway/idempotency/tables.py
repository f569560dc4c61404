from piccolo.columns import UUID, Bytea, Timestamptz, Varchar
from piccolo.constraints import Unique
from piccolo.table import Table


class IdempotentAnswer(Table):
    """The first answer to a request that carried an Idempotency-Key.

    `owner` is the account, or of a request without a token the client's address. The key is stored hashed and the answer encrypted under
    it, so the table alone shows nobody's answers. `answer` is null while the first request still runs.
    """

    id = UUID(primary_key=True, default=None)
    created_id = UUID()
    """For what the request creates; a request that repeats it after its gateway died has the same."""
    owner = Varchar(length=100)
    key_hash = Bytea()
    fingerprint = Bytea()
    answer = Bytea(null=True, default=None)
    created_at = Timestamptz()

    idempotent_answer_owner = Unique([owner, key_hash])
