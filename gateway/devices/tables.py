from piccolo.columns import UUID, BigInt, Bytea, ForeignKey, Timestamptz, Varchar
from piccolo.columns.base import OnDelete
from piccolo.constraints import Unique
from piccolo.table import Table


class Account(Table):
    """Whoever owns the data. Everything else hangs on it and goes with it."""

    id = UUID(primary_key=True, default=None)
    created_at = Timestamptz()
    sample_bytes = BigInt(default=0)
    """Of its samples, kept by whoever stores and deletes them; see `Conversation.stored_bytes`."""


class Device(Table):
    """A client of an account; `hardware_id` is unique within its account."""

    id = UUID(primary_key=True, default=None)
    account_id = ForeignKey(references=Account, on_delete=OnDelete.cascade, null=False)
    name = Varchar(length=200)
    hardware_id = Varchar(length=200)
    platform = Varchar(length=20)
    os_version = Varchar(length=100)
    status = Varchar(length=20, default="pending")
    created_at = Timestamptz()
    verified_at = Timestamptz(null=True, default=None)
    last_seen_at = Timestamptz(null=True, default=None)
    tokens_valid_after = Timestamptz(null=True, default=None)
    """Tokens that were issued up to this moment are void."""

    device_hardware = Unique([account_id, hardware_id])


class PairingCode(Table):
    """The one code a device may be verified with; only its keyed hash is kept, and the row goes when the code is used or burnt."""

    device_id = ForeignKey(references=Device, on_delete=OnDelete.cascade, null=False, primary_key=True)
    code_hash = Bytea()
    expires_at = Timestamptz()


class RefreshToken(Table):
    """A refresh token, hashed. Those that come from one verification are a family; using one of them twice revokes them all."""

    id = UUID(primary_key=True, default=None)
    family_id = UUID(index=True)
    device_id = ForeignKey(references=Device, on_delete=OnDelete.cascade, null=False, index=True)
    token_hash = Bytea(unique=True)
    created_at = Timestamptz()
    expires_at = Timestamptz()
    used_at = Timestamptz(null=True, default=None)
    revoked_at = Timestamptz(null=True, default=None)
