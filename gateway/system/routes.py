from litestar import Controller, get
from litestar.di import NamedDependency

from gateway.auth.authentication import Caller
from gateway.http.openapi import errors
from gateway.system.schemas import System
from gateway.system.service import SystemService


class SystemController(Controller):
    path = "/api/system"
    tags = ("system",)

    @get("/", summary="Look at the installation", responses=errors(401, 403, 503))
    async def read(self, principal: Caller, system: NamedDependency[SystemService]) -> System:
        """The version, what is away, the model that serves, what can be trained, and how many drafts wait. Nothing in it is of an account.
        It is at most two seconds old, and it answers also while the ML service is away.
        """
        return await system.state()
