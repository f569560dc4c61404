"""Keys that are made once and kept in the data folder."""

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from deploy.local.processes import StartError


@dataclass(frozen=True, slots=True)
class Secrets:
    """`jwt_keys` is the gateway's setting of that name; both services share `ml_service_token`."""

    jwt_keys: str
    ml_service_token: str


def keep_secrets(path: Path) -> Secrets:
    """Read the keys, or make them. The file is for its owner only.

    Raises:
        StartError: the file is there but cannot be used.
    """
    if not path.exists():
        made = {"jwt_keys": f"{secrets.token_hex(4)}:{secrets.token_hex(32)}", "ml_service_token": secrets.token_urlsafe(32)}
        draft = path.with_suffix(".new")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(made, file, indent=2)
        draft.rename(path)
    try:
        return Secrets(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise StartError(f"{path} is damaged: restore it, or remove it and pair all devices again") from error
