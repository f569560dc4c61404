"""Gives a client's method what `help()` and editors show: the name, the words and the parameters of the call that it makes."""

import inspect
from collections.abc import Callable
from typing import Any, get_args


def describe_as(method: Callable[..., Any], describe: Callable[..., Any]) -> None:
    """Let `method` look as `describe` of `calls.py` does, with `self`, and returning the answer instead of the call."""
    signature = inspect.signature(describe)
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    (answer,) = get_args(signature.return_annotation)
    method.__name__ = describe.__name__
    method.__doc__ = describe.__doc__
    method.__signature__ = signature.replace(  # type: ignore[attr-defined]  # PEP 362: what `inspect` looks at first
        parameters=[own, *signature.parameters.values()], return_annotation=answer
    )
