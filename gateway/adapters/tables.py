from piccolo.columns import UUID, Array, Boolean, DoublePrecision, ForeignKey, Timestamptz, Varchar
from piccolo.columns.base import OnDelete
from piccolo.table import Table

from gateway.devices.tables import Account


class Adapter(Table):
    """A personal adapter: what the completed training of the same id made. At most one of an account's is active."""

    id = UUID(primary_key=True, default=None)
    account_id = ForeignKey(references=Account, on_delete=OnDelete.cascade, null=False)
    base_model = Varchar(length=100)
    sample_ids = Array(base_column=UUID())
    eval_loss = DoublePrecision()
    baseline_eval_loss = DoublePrecision()
    active = Boolean(default=False)
    stale = Boolean(default=False)
    """Something that it was trained on has been deleted since."""
    created_at = Timestamptz()
