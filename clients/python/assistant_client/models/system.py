"""The account, and the installation that it is on."""

from typing import Literal
from uuid import UUID

from assistant_client.models.base import Body, Time

EngineState = Literal["loading", "ready", "reloading", "rebuilding", "sleeping", "stopped", "away"]


class Account(Body, frozen=True, kw_only=True):
    """The account that a device belongs to, and how much is in it. `responses` counts drafts in any state."""

    id: UUID
    created_at: Time
    devices: int
    contacts: int
    conversations: int
    messages: int
    responses: int
    samples: int
    training_jobs: int
    adapters: int


class Model(Body, frozen=True, kw_only=True):
    """A model of the catalogue. `context_length`: tokens that a prompt and its draft can have together."""

    name: str
    description: str
    parameters: int
    context_length: int


class System(Body, frozen=True, kw_only=True):
    """What can be shown of the installation. While `engine` is `away`, `model` and `queue_length` are None and `base_models` is empty."""

    version: str
    database: bool
    redis: bool
    engine: EngineState
    model: Model | None
    base_models: list[Model]
    queue_length: int | None
    fewest_training_samples: int
