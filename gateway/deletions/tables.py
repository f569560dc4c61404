from piccolo.columns import UUID, Array, Boolean, Integer, Timestamptz
from piccolo.table import Table


class DeletionOrder(Table):
    """What the ML service still has to forget: of an account all cached drafts, and these things or everything. It outlives the account."""

    id = UUID(primary_key=True, default=None)
    account_id = UUID()
    job_ids = Array(base_column=UUID())
    training_ids = Array(base_column=UUID())
    adapter_ids = Array(base_column=UUID())
    everything = Boolean(default=False)
    created_at = Timestamptz()
    look_at = Timestamptz()
    attempts = Integer(default=0)
    """How often it was tried since the ML service was last away."""
