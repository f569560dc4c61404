"""`POST /forget`: what was deleted elsewhere goes here, too."""

from fastapi import APIRouter

from ml_service.api.documentation import errors
from ml_service.forgetting import Forgetting
from shared.contracts.service import ForgetRequest, Forgotten


def forget_routes(forgetting: Forgetting) -> APIRouter:
    router = APIRouter(tags=["forget"])

    @router.post("/forget", responses=errors(400, 413, 503))
    async def forget(body: ForgetRequest) -> Forgotten:
        """Forget a scope's cached answers, and of it these jobs, trainings and adapters, or everything.

        Asking again is fine, and necessary until it is complete: a training runs to its end first, unless its adapter is to go.
        """
        return await forgetting.forget(body)

    return router
