"""What other slices may do to the answers that are kept."""

from uuid import UUID

from gateway.database import Db
from gateway.idempotency import queries


async def forget_answers(db: Db, account_id: UUID) -> None:
    """Forget what an account was answered; what is being answered will not be kept. For the transaction that forgets what was answered."""
    await queries.forget(db, str(account_id))
