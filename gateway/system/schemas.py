from typing import Annotated, Literal

from msgspec import Meta

from gateway.wire import Wire

EngineState = Literal["loading", "ready", "reloading", "rebuilding", "sleeping", "stopped", "away"]


class Model(Wire, frozen=True, kw_only=True):
    """A model of the catalogue."""

    name: str
    description: str
    parameters: Annotated[int, Meta(description="How many it has.")]
    context_length: Annotated[int, Meta(description="Tokens that a prompt and its draft can have together.")]


class System(Wire, frozen=True, kw_only=True):
    """What a client can show of the installation. It is the same for every account.

    `engine` is what writes drafts, and can while it is `ready`. `loading` and `reloading`: a model is being read; `rebuilding`: it died and
    is started again; `sleeping`: a training has its GPU; `away`: the ML service cannot be reached, and then `model` and `queueLength` are
    null and `baseModels` is empty. Of several replicas the first that can write drafts is shown.
    """

    version: str
    database: Annotated[bool, Meta(description="Whether PostgreSQL answers.")]
    redis: Annotated[bool, Meta(description="Whether Redis answers. Without it nothing is queued or paired, and events wait.")]
    engine: EngineState
    model: Annotated[Model | None, Meta(description="The model that serves, or is being loaded.")]
    base_models: Annotated[list[Model], Meta(description="What a training may start from.")]
    queue_length: Annotated[int | None, Meta(description="How many drafts of all accounts wait for the model.")]
    fewest_training_samples: Annotated[int, Meta(description="With less a training is refused.")]
