from piccolo.columns import JSONB, UUID, Array, Boolean, DoublePrecision, ForeignKey, Integer, Text, Timestamptz, Varchar
from piccolo.columns.base import OnDelete
from piccolo.table import Table

from gateway.devices.tables import Account, Device


class TrainingJob(Table):
    """A training: what was asked, how far it is, what came of it. The ML service's job has the same id, and so has the adapter."""

    id = UUID(primary_key=True, default=None)
    account_id = ForeignKey(references=Account, on_delete=OnDelete.cascade, null=False)
    device_id = ForeignKey(references=Device, on_delete=OnDelete.set_null, null=True, default=None, index=True)
    status = Varchar(length=20)
    base_model = Varchar(length=100)
    method = Varchar(length=10)
    epochs = Integer()
    learning_rate = DoublePrecision()
    sample_ids = Array(base_column=UUID())
    """What it learns from, as it was chosen at the start."""
    baseline_adapter_id = UUID(null=True, default=None)
    """The adapter that was active at the start, which the new one is compared with; none: the base model."""
    progress = DoublePrecision(default=0.0)
    epoch = DoublePrecision(default=0.0)
    step = Integer(default=0)
    total_steps = Integer(default=0)
    loss = DoublePrecision(null=True, default=None)
    eval_loss = DoublePrecision(null=True, default=None)
    baseline_eval_loss = DoublePrecision(null=True, default=None)
    eval_samples = Integer(default=0)
    peak_memory_mib = Integer(null=True, default=None)
    history = JSONB(default="[]")
    comparisons = JSONB(default="[]")
    """Text of people: replies to held-out samples before and after. They go with their samples."""
    error = Text(null=True, default=None)
    activated = Boolean(null=True, default=None)
    activation_note = Text(null=True, default=None)
    created_at = Timestamptz()
    started_at = Timestamptz(null=True, default=None)
    completed_at = Timestamptz(null=True, default=None)
    heard_at = Timestamptz()
    """When the ML service last said something of it."""
    look_at = Timestamptz(null=True, default=None)
    """When it is due to be reconciled with the ML service's job; none: that has ended."""
    attempts = Integer(default=0)
    """Attempts at that since one last succeeded."""
