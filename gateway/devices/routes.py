from uuid import UUID

from litestar import Controller, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, JSONBody

from gateway.auth.authentication import OPTIONAL, PUBLIC, Caller, OptionalCaller
from gateway.devices.schemas import DeviceAnswer, DeviceList, DeviceRegistration, Pairing, Refresh, Tokens, Verification
from gateway.devices.service import DeviceService
from gateway.http.forwarding import provide_client_address
from gateway.http.openapi import MAYBE_TOKEN, NO_TOKEN, errors
from gateway.idempotency.middleware import IDEMPOTENT
from gateway.limits.bodies import SMALL_BODY


class DeviceController(Controller):
    path = "/api/devices"
    tags = ("devices",)
    dependencies = {"client_address": Provide(provide_client_address, sync_to_thread=False)}  # noqa: RUF012

    @post(
        "/register",
        summary="Register a device",
        opt={**OPTIONAL, **IDEMPOTENT, **SMALL_BODY},
        security=MAYBE_TOKEN,
        responses=errors(400, 401, 403, 408, 409, 413, 422, 429, 503),
    )
    async def register(
        self,
        optional_principal: OptionalCaller,
        devices: NamedDependency[DeviceService],
        client_address: NamedDependency[str],
        data: JSONBody[DeviceRegistration],
    ) -> Pairing:
        """Without a token this makes a new account and its first device (403 where the operator has closed that). With the token of an
        active device it adds a device to that account: type `deviceId` and `code` into the new one. The same `hardwareId` again is the
        same device with a new code. The code works once, for 10 minutes. 429 if the address registers too often, or the account has as many
        devices as it may.
        """
        return await devices.register(optional_principal, data, client_address)

    @post(
        "/verify",
        status_code=200,
        summary="Trade a pairing code for tokens",
        opt={**PUBLIC, **IDEMPOTENT, **SMALL_BODY},
        security=NO_TOKEN,
        responses=errors(400, 401, 408, 409, 413, 422, 429, 503),
    )
    async def verify(
        self, devices: NamedDependency[DeviceService], client_address: NamedDependency[str], data: JSONBody[Verification]
    ) -> Tokens:
        """5 attempts in 15 minutes a device, and 50 wrong ones a client address; then 429 with `Retry-After`. The fifth wrong code burns
        the code. Tokens that the device had before are void.
        """
        return await devices.verify(data, client_address)

    @post(
        "/refresh",
        status_code=200,
        summary="Trade a refresh token for new tokens",
        opt={**PUBLIC, **IDEMPOTENT, **SMALL_BODY},
        security=NO_TOKEN,
        responses=errors(400, 401, 408, 409, 413, 422, 503),
    )
    async def refresh(self, devices: NamedDependency[DeviceService], data: JSONBody[Refresh]) -> Tokens:
        """A refresh token works once. Using it twice ends all tokens that came from the same pairing, and the account's other devices are
        told: send an `Idempotency-Key` to be able to ask again after an answer that got lost.
        """
        return await devices.refresh(data)

    @get("/", summary="List the account's devices", responses=errors(401, 403, 503))
    async def list(self, principal: Caller, devices: NamedDependency[DeviceService]) -> DeviceList:
        """All of them, oldest first; `current` is the one that asks."""
        return DeviceList(devices=await devices.devices(principal))

    @post("/{device_id:uuid}/deactivate", status_code=200, summary="Shut a device out", responses=errors(400, 401, 403, 404, 503))
    async def deactivate(self, principal: Caller, devices: NamedDependency[DeviceService], device_id: FromPath[UUID]) -> DeviceAnswer:
        """Works at once: the device's next request is 403, its refresh tokens are void, its running training is cancelled. Also for the
        device that asks.
        """
        return DeviceAnswer(device=await devices.deactivate(principal, device_id))
